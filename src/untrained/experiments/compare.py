"""Many methods, fractions kept and seeds on one budget: the grid, parallel searches, the table, the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torch import nn

from untrained import plot
from untrained.data.dataset import DataSet
from untrained.data.own import Data
from untrained.experiments.by_name import law_of, split, takes_keep
from untrained.experiments.cells import check_workers, import_joblib, refuse_threads, run_cells
from untrained.experiments.choices import chance_of, data_of
from untrained.experiments.objects import NOTHING, Objects, take
from untrained.experiments.parts import in_own_folder, join, part_of, read_parts
from untrained.experiments.run_folder import claim_folder, resume_command, slug, write_settings
from untrained.experiments.testbed import Workbench, choose_device, opponents_for, suits
from untrained.methods import METHODS, Method
from untrained.models.own import refuse_shared
from untrained.opponents import Opponent
from untrained.own_code import short
from untrained.report.grid_page import write_grid_report
from untrained.runs.reference import find_references
from untrained.runs.settings import CompareSettings, GridSettings, Setup, settle
from untrained.runs.table import RANDOM, TWIN, Cell, Line, lines_of, read_cell, write_cell, write_results
from untrained.runs.text_tables import of_lines
from untrained.search.metric import ACCURACY, Metric
from untrained.search.run_files import CELLS, PICTURE
from untrained.terminal.progress import show_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True)
class Comparison:
    """Results of `compare`.

    Attributes:
        lines: the table: the twin, the random subnetworks, then the methods in the order of their names.
        cells: a cell for each network.
        folder: the folder of results.csv, summary.csv, results.json, picture.png, and a folder per network.
        picture: the picture, or None when matplotlib is not installed, or for a part (`cell`).
        report: one HTML page about all networks, or None for a part.
    """

    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]
    folder: Path
    picture: Path | None
    report: Path | None

    def _repr_html_(self) -> str:
        return of_lines(self.lines).html()


def compare(
    settings: CompareSettings | None = None,
    *,
    models: Mapping[str, str | Callable[..., nn.Module]] | Sequence[Any] | Callable[..., nn.Module] | None = None,
    methods: str | Sequence[Method | Opponent | str] | Mapping[str, Method | Opponent | str] | None = None,
    data: str | DataSet | Iterable[Any] | None = None,
    loop: Callable[..., Any] | None = None,
    loss: str | Callable[..., Any] | None = None,
    metric: str | Callable[..., Any] | None = None,
    **changes: Any,
) -> Comparison:
    """Search with every method, fraction kept and seed, on the same network, data and number of epochs.

    The trained twin and random subnetworks are always among them. There is no model selection: results are those of
    the last epoch, on validation and test data. joblib runs the searches in parallel, a core each; or, with
    `jobs="dask:ADDRESS"` or `"ray:ADDRESS"`, the workers of a cluster, which share the folders. Each finished network
    is written at once, so an interrupted comparison continues with `resume=True`. With `cell="i/n"` only the i-th of n
    equal parts is searched, on any machine; `merge=(folder,)` joins all parts to what one process would have written.

    Args:
        settings: the settings; default `CompareSettings()`.
        models: {name: function}, each of which returns a new `nn.Module`, from the arguments `shape` and `classes`
            where it has them; or names of networks, a list, or one function; instead of `model`.
        methods: method objects, names with options in brackets, or {name: method}; objects have their own `keep`.
        data: a name, a `DataSet`, or three iterables of batches: train, validation and test.
        loop: a function (model, train, ...) that trains a masked model in place, or returns a copy, as `fit` does;
            parameters called `val`, `epochs`, `seed`, `out`, or as others of `fit`, get their values. It never gets the
            test data. The twin and the opponents are trained by `fit`.
        loss, metric: names or functions, as `fit` takes them; None: by the type of the labels.
        changes: fields of `CompareSettings` to change, such as `epochs=5`.

    Raises:
        ValueError: a setting is out of range, an unknown method or row, objects that cannot be told apart or sent to
            the workers, or the folder holds another run, or one of other objects.
        OSError: another run writes into the folder now, or it cannot be written.
        FileNotFoundError, ConnectionError, ImportError: the data set or joblib cannot be found.
        KeyboardInterrupt: after Ctrl-C, with the command that resumes the run.

    Example:
        >>> found = ut.compare(methods=[ut.Biprop(0.3)], widths=(8,), epochs=1, seeds=1, jobs=1, out="run")
        >>> [line.method for line in found.lines]
        ['trained twin', 'random-subnetwork', 'biprop']
    """
    settings = replace(settings or CompareSettings(), **changes)
    objects, names = take(models, methods, data, loop, {"loss": loss, "metric": metric}, settings)
    setups, settings = objects.setups(settings, names), settle(settings, names)
    places = {name: ({"model": name},) for name in setups}
    grid = [cell for name in setups for cell in make_grid(setups[name], lambda _, its=places[name]: its, objects)]
    benches = {name: validate(each, objects=objects) for name, each in setups.items()}
    bench, common = next(iter(benches.values())), _metric_of(benches)
    chance = chance_of(bench.data, common)
    title = f"{settings.describe_network()} on {settings.data}, {settings.epochs} epochs"

    def draw(lines: Sequence[Line], _: Sequence[Cell]) -> Figure:
        return plot.comparison(title, lines)

    return run_grid(
        settings, grid, lambda cell: setups[cell.model], "compare", draw, chance, {}, common, objects=objects
    )


def _metric_of(benches: Mapping[str | None, Workbench]) -> Metric:
    """Return the metric of all networks, or raise a ValueError if they have different ones."""
    found = {name: bench.objective.metric for name, bench in benches.items()}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {metric.name}" for name, metric in found.items())
        raise ValueError(f"all networks must have one metric, got {told}; name one, such as metric='accuracy'")
    return next(iter(found.values()))


def make_grid(
    settings: GridSettings,
    places: Callable[[str], Iterable[Mapping[str, Any]]] = lambda method: ({},),
    objects: Objects = NOTHING,
) -> list[Cell]:
    """Return a cell without results for each method, keep, place and seed; the twin and the random ones come first.

    `places` returns further fields of a method's cells, such as widths. A ValueError is raised if there is no such
    method, or an opponent has another width than a network that has none.
    """
    # The whole random network is in the table of `find`.
    groups = {"all": [name for name in METHODS if name != "dense"], "opponents": opponents_for(settings.model)}
    texts = [RANDOM, *(text for each in split(settings.methods) for text in groups.get(each, [each])), *settings.method]
    keeps: dict[str, Sequence[float | None]] = {TWIN: (None,)}
    own = [keep for name in objects.methods for keep in objects.of(name) if keep is not None]
    named = [text for text in texts[1:] if not objects.of(text) and takes_keep(objects.text_of(text))]
    if own and not named and settings.keep != type(settings)().keep:
        raise ValueError(f"keep is for methods by name, and these objects have their own, got {settings.keep}")
    for text in texts:
        if text == RANDOM:
            keeps[text] = tuple(dict.fromkeys([*(settings.keeps() if named or not own else ()), *own]))
        else:
            keeps[text] = tuple(objects.of(text)) or (settings.keeps() if text in named else (None,))
        for keep in keeps[text]:
            entrant = objects.entrant(text, keep)  # raises before any file is written
            if isinstance(entrant, Opponent) and not suits(entrant, settings.model):
                raise ValueError(f"{text}: {settings.model} has no width to vary; leave it out, or take another model")
    return [
        Cell(text, keep, seed, **place)
        for text, each in keeps.items()
        for keep in each
        for place in places(text)
        for seed in range(settings.seeds)
    ]


def validate(setup: CompareSettings, data: Data | None = None, objects: Objects = NOTHING) -> Workbench:
    """Return the workbench, or raise the errors of `compare` for joblib, data, network, law, loss, metric and threads.

    This is before a file is written. `data` are read if neither they nor objects are given.
    """
    import_joblib()
    data = objects.data if data is None else data
    bench = Workbench(setup, data_of(setup) if data is None else data, choose_device(setup.device), 0, objects=objects)
    network = bench.network()
    refuse_shared(network, bench.network())
    draws = any(isinstance(layer, nn.Dropout) for layer in network.modules())
    if draws or bench.brought is not None or objects.loop is not None:
        refuse_threads(setup)
    if setup.weights != "recommended":
        law_of(setup.weights)
    _ = bench.objective
    return bench


def run_grid(
    settings: GridSettings,
    grid: Sequence[Cell],
    setup_of: Callable[[Cell], Setup],
    command: str,
    draw: Callable[[Sequence[Line], Sequence[Cell]], Figure],
    chance: float | None,
    facts: Mapping[str, Any] = {},
    metric: Metric = ACCURACY,
    *,
    objects: Objects = NOTHING,
) -> Comparison:
    """Search the missing cells of a grid, write each one at once, then the table, the picture and the page.

    The settings are those of the run, and `setup_of` returns those of a cell's network; `command` resumes the run;
    `draw` takes the table and its networks; `facts` are what else results.json tells the page; `chance` is the metric
    on validation data up to which a network has not learned, None if that is not known.
    """
    against = settings.against or TWIN
    find_references(list(dict.fromkeys(cell.place for cell in grid)), against)  # raises before any file is written
    check_workers(settings, objects)  # likewise
    if settings.cell is not None:
        grid = part_of(grid, settings.cell)
    parts = read_parts(settings, grid) if settings.merge else {}
    settings = in_own_folder(settings)
    name = slug(f"{command}-{short(settings.model)}-{Path(settings.data).name}")
    with claim_folder(settings, name, lambda folder: (folder / CELLS).is_dir()) as folder:
        if not (folder / CELLS).is_dir():
            write_settings(folder, settings)
        (folder / CELLS).mkdir(exist_ok=True)
        join(parts, folder)
        done = {cell.name: read for cell, (_, read) in parts.items()} or {
            cell.name: read for cell in grid if (read := read_cell(folder, cell)) is not None
        }
        missing = {cell: setup_of(cell) for cell in grid if cell.name not in done}
        try:
            with show_progress(command, len(grid), len(done), "networks") as advance:
                for cell in run_cells(settings, missing, folder.resolve(), objects):
                    write_cell(folder, cell)
                    done[cell.name] = cell
                    advance(f"{cell.method} {cell.error or metric.show(cell.test)}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; go on with: {resume_command(command, folder, settings)}") from None
        cells = tuple(done[cell.name] for cell in grid)
        if settings.cell is not None:
            return Comparison(tuple(lines_of(cells, metric=metric)), cells, folder, None, None)
        lines = tuple(lines_of(cells, against, chance, metric))
        facts = facts if metric == ACCURACY else {**facts, "metric": asdict(metric)}
        write_results(folder, lines, cells, command=command, against=settings.against, chance=chance, **facts)
        picture = folder / PICTURE if plot.available() else None
        if picture is not None:
            plot.save(draw(lines, cells), picture)
        return Comparison(lines, cells, folder, picture, write_grid_report(folder))
