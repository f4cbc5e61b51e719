"""The command line for weight agnostic networks; each command imports its own packages, for a quick `--help`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from untrained.cli.app import CONFIG_HELP, AsJson, no_picture
from untrained.search.run_files import FOUND
from untrained.terminal.text import Table, say
from untrained.wann.runs.settings import WannSettings, accept_task

if TYPE_CHECKING:
    from untrained.wann.networks.net import Net
    from untrained.wann.tasks.task import Task
    from untrained.wann.tuning.columns import Column

app = App(
    name="wann",
    default_parameter=Parameter(negative=()),
    help="""Find networks that work with any value of one weight that all their connections share.

    ```
    untrained wann                          swing a pole up, in a minute
    untrained wann --task digits            classify digits
    untrained wann show   RUN/found.json    the network in numbers, or as a picture
    untrained wann eval   RUN/found.json    its scores
    untrained wann tune   RUN/found.json    tune a weight for every connection
    untrained wann export RUN/found.json x.onnx
    untrained wann show   champion:cartpole the same for the networks that come with the package
    ```
    """,
)


@app.default
def search(
    settings: Annotated[WannSettings, Parameter(name="*")] = WannSettings(),  # noqa: B008  a frozen dataclass
    *,
    as_json: AsJson = False,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> Any:
    """Search for weight agnostic networks (Gaier & Ha 2019).

    Prints the scores of the best network: at the six shared weights, and in the four columns of the paper's table.

    Writes into the folder of `--out`: found.json (the best network), tuned.json (with a weight per connection), front
    (the best of every size), report.html (a page about the run), picture.png, results.json, metrics.jsonl, config.toml
    and checkpoint.npz.
    The best network so far and its picture are there while the search runs. Ctrl-C leaves them, checkpoint, metrics and
    front; `--resume` continues with the run's settings, and optionally with more `--generations` or `--minutes`.

    ```
    untrained wann --task digits --minutes 2
    untrained wann --task swingup --islands 10 --minutes 30 --out runs/swingup
    untrained wann --task gym:BipedalWalker-v3 --generations 100
    untrained wann --task table.csv --generations 300
    ```
    """
    from untrained.wann.runs.evolve import evolve, mean_and_std

    _find_modules_here(settings.task)
    run = evolve(settings, tell=say)
    _print_columns(run.columns, run.measure, run.most, run.front[-1].net)
    if run.ensemble is not None:
        print(f"ensemble of the six weights: {run.ensemble:.2%}\n")
    if len(run.attempts) > 1:
        mean, std = mean_and_std(run.attempts)
        spread = f"best reward where networks are chosen {mean:,.4g} ± {std:,.3g}, at most {max(run.attempts):,.4g}"
        print(f"{len(run.attempts)} searches apart: {spread}\n")
    sizes = ", ".join(f"{each.net.connections}: {each.reward:,.4g}" for each in run.front[-6:])
    print(f"connections: reward   {sizes}")
    say(f"network  {run.folder / FOUND}  (shared weight {run.shared:.2f})")
    say(f"picture  {run.picture or no_picture()}")
    say(f"report   {run.report}")
    front = [{"connections": each.net.connections, "reward": each.reward} for each in run.front]
    return vars(run) | {"front": front, "columns": _facts_of(run.columns), "network": run.folder / FOUND}


@app.command
def show(net: Path, /, *, picture: Path | None = None) -> None:
    """Show a network in numbers and its source as Python, or draw it.

    Args:
        net: The network's file, or champion:NAME, one that comes with the package.
        picture: A .png, .svg or .pdf file to draw it into.
    """
    from collections import Counter

    from untrained.wann.networks.activations import NAMES
    from untrained.wann.networks.levels import levels

    read = _read(net)
    used = sorted({int(source) for source in read.src if 0 < source <= read.inputs})
    kinds = Counter(NAMES[kind - 1] for kind in read.act)
    print(f"inputs       {read.inputs}, of which {len(used)} are used")
    print(f"outputs      {read.outputs}")
    print(f"hidden nodes {len(read.act) - read.outputs}, in {len(levels(read))} levels with the outputs")
    print(f"connections  {read.connections}{'' if read.weights is None else ', each with a tuned weight'}")
    print(f"activations  {', '.join(f'{count} {name}' for name, count in kinds.most_common())}")
    for name, value in read.meta.items():
        if value is not None:
            say(f"{name:<12} {_as_text(value)}")
    if picture is not None:
        read.draw(picture)
        say(f"picture      {picture}")
    elif read.connections <= 100:
        print(f"\n{read.to_python()}", end="")


@app.command(name="eval")
def evaluate(
    net: Path,
    /,
    *,
    task: str | None = None,
    data_dir: Path | None = None,
    max_steps: int | None = None,
    trials: int = 100,
    seed: int = 0,
    as_json: AsJson = False,
) -> Any:
    """Print the scores of a network on test data, or in episodes that no search uses.

    Args:
        net: The network's file, or champion:NAME, one that comes with the package.
        task: Task of the network (default: that of the search, unless it is a module or a table).
        data_dir: Folder of the task's data.
        max_steps: Steps after which an episode of a gym:ID ends (default: as in the search).
        trials: Draws of random weights, and episodes of each kind.
        seed: Seed of the trials.
    """
    from untrained.wann.tuning.columns import ensemble, four_columns, six_weights, without_connections

    read, chosen = _load(net, task, data_dir, max_steps)
    own = None if read.weights is None else read
    columns = [six_weights(chosen, read, trials=trials, seed=seed)]
    columns += four_columns(chosen, read, own, trials=trials, seed=seed)
    columns.append(without_connections(chosen, trials=trials, seed=seed))
    _print_columns(columns, chosen.measure, chosen.most, read)
    accuracy = ensemble(chosen, read)
    if accuracy is not None:
        print(f"ensemble of the six weights: {accuracy:.2%}")
    facts = {"network": net, "task": chosen.name, "connections": read.connections, "measure": chosen.measure}
    return {**facts, "columns": _facts_of(columns), "ensemble": accuracy}


@app.command
def tune(
    net: Path,
    out: Path,
    /,
    *,
    task: str | None = None,
    data_dir: Path | None = None,
    max_steps: int | None = None,
    method: Literal["auto", "cma", "gradient"] = "auto",
    budget: int | None = None,
    seed: int = 0,
    workers: int | str = 1,
) -> None:
    """Tune a weight for every connection, and write the network.

    Args:
        net: The network's file, or champion:NAME, one that comes with the package.
        out: The file to write.
        task: Task of the network (default: that of the search, unless it is a module or a table).
        data_dir: Folder of the task's data.
        max_steps: Steps after which an episode of a gym:ID ends (default: as in the search).
        method: CMA-ES, which needs rewards only, or gradient, which needs examples (auto: gradient if there are).
        budget: Generations of CMA-ES (default: 300), or epochs (default: 20).
        seed: Seed of all random numbers.
        workers: Threads, or processes for gym tasks; or a cluster, as in the search.
    """
    from untrained.wann.tuning.columns import four_columns
    from untrained.wann.tuning.tune import best_shared, tuned

    read, chosen = _load(net, task, data_dir, max_steps)
    if not out.resolve().parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.resolve().parent}")
    shared = best_shared(chosen, read, seed=seed)
    own = tuned(chosen, read, shared=shared, method=method, budget=budget, seed=seed, workers=workers)
    own.save(out)
    columns = four_columns(chosen, read, own, shared=shared, seed=seed)
    _print_columns(columns, chosen.measure, chosen.most, read)
    say(f"network  {out}")


@app.command
def export(net: Path, out: Path, /) -> None:
    """Write a network in another format, by the ending of the file.

    .onnx for ONNX runtimes (inputs x and the shared weight w), .py for Python without any package, .graphml for graph
    tools, .png, .svg or .pdf as a picture, .html as a page on which it balances a pole (swingup, cartpole).

    Args:
        net: The network's file, or champion:NAME, one that comes with the package.
        out: The file to write.
    """
    from untrained.files import atomic_write

    read = _read(net)
    match out.suffix:
        case ".onnx":
            read.to_onnx(out)
        case ".py":
            with atomic_write(out) as unfinished:
                unfinished.write_text(read.to_python(), encoding="utf-8")
        case ".graphml":
            graph = read.to_networkx()
            _refuse_unfit_for_xml(read.labels or ())
            import networkx

            with atomic_write(out) as unfinished:
                networkx.write_graphml(graph, unfinished)
        case ".png" | ".svg" | ".pdf":
            read.draw(out)
        case ".html":
            from untrained.wann.runs.simulation import write_simulation

            write_simulation(read, out)
        case _:
            raise ValueError(f"{out}: expected a file that ends in .onnx, .py, .graphml, .png, .svg, .pdf or .html")
    say(f"{out}: {out.stat().st_size:,} bytes")


def _read(net: Path) -> Net:
    """Read a network's file, or the champion of a name, as in champion:swingup."""
    from untrained.fields import look_up
    from untrained.wann.networks.champions import champions
    from untrained.wann.networks.net import Net

    kind, _, name = str(net).partition(":")
    return look_up("champion", champions(), name) if kind == "champion" else Net.load(net)


def _load(path: Path, task: str | None, data_dir: Path | None, max_steps: int | None) -> tuple[Net, Task]:
    import numpy as np

    from untrained.wann.tasks.by_name import task_named

    net = _read(path)
    found_for, limit = net.meta.get("task"), net.meta.get("max_steps")
    if task is not None:
        name = task
    elif isinstance(found_for, str):
        name = accept_task(found_for, path)
    else:
        raise ValueError(f"{path} does not name its task: give --task")
    if max_steps is None and name == found_for and type(limit) is int and limit > 0:
        max_steps = limit
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be above 0, got {max_steps}")
    _find_modules_here(name)
    classes = "numbers" if net.labels is None else "classes"
    predict = classes if name.lower().endswith(".csv") else None
    chosen = task_named(name, data_dir, max_steps=max_steps if name.startswith("gym:") else None, predict=predict)
    if chosen.about:
        say(chosen.about)
    if (net.inputs, net.outputs) != (chosen.inputs, chosen.outputs):
        raise ValueError(
            f"{path} has {net.inputs} inputs and {net.outputs} outputs; {chosen.name} needs {chosen.inputs} and "
            f"{chosen.outputs}"
        )
    own = chosen.finished(net)
    scaled = all(np.array_equal(getattr(own, part), getattr(net, part)) for part in ("offset", "scale"))
    if own.labels != net.labels or not scaled:
        raise ValueError(
            f"{path} was found on other data: {chosen.name} has another scaling of inputs or other names of classes"
        )
    return net, chosen


def _as_text(fact: object) -> str:
    """Return a fact with short numbers; the file of a stranger may hold anything."""
    if isinstance(fact, Mapping):
        return ", ".join(f"{name} {_as_text(value)}" for name, value in fact.items())
    if isinstance(fact, list):
        return ", ".join(map(_as_text, fact))
    return f"{fact:.4g}" if isinstance(fact, float) else str(fact)


def _find_modules_here(task: str) -> None:
    """Add the current folder to the end of Python's search path, for the module of a typed task."""
    here = str(Path.cwd())
    if ":" in task.removeprefix("gym:") and here not in sys.path:
        sys.path.append(here)


def _refuse_unfit_for_xml(labels: Sequence[str]) -> None:
    for number, label in enumerate(labels):
        if not all(c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") for c in label):
            raise ValueError(f"label {number}, {label[:80]!r}, has a control character, which XML cannot hold")


def _facts_of(columns: Sequence[Column]) -> list[Any]:
    return [{**vars(column), "mean": column.mean, "std": column.std} for column in columns]


def _print_columns(columns: Sequence[Column], measure: str, most: float | None, net: Net) -> None:
    from untrained.wann.tuning.columns import heading, table_rows

    rows = table_rows([(column.name, column.mean, column.std, len(column.scores)) for column in columns], measure)
    Table((f"{net.connections} connections", heading(measure, most), "± std", "of"), rows).print()
    if names := list(columns[0].measures):
        further = [(column.name, *(f"{column.measures[name]:,.3g}" for name in names)) for column in columns]
        Table(("in other figures", *names), further).print()
