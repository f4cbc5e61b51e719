"""Commands that search: `find`, `compare`, `sweep` and `frontier`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from untrained.cli.app import CONFIG_HELP, AsJson, app, no_picture
from untrained.runs.settings import CompareSettings, FrontierSettings, Settings, SweepSettings
from untrained.search.run_files import SUMMARY, TABLE
from untrained.terminal.renderings import Form, render
from untrained.terminal.text import printable, say

if TYPE_CHECKING:
    from untrained.runs.run import Row
    from untrained.runs.table import Line

_Form = Annotated[
    Form | None,
    Parameter(help="Print the table alone, in this form; notes and paths go to standard error."),
]


@app.command
def find(
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008  a frozen dataclass
    *,
    as_json: AsJson = False,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> Any:
    """Find a subnetwork and compare it with its baselines.

    Searches, then prints one table: the random network, a random subnetwork of the same size, the found
    subnetwork, and the same network with its weights trained.

    Writes into the folder of `--out`: found.html (a page that runs the network, to draw on), found.ticket, report.html
    (a page about the run), picture.png, config.toml, metrics.jsonl, checkpoint.pt and the data of the report, and the
    twin's files into its folder twin.
    Once the search has begun, Ctrl-C leaves a checkpoint and a ticket; `--resume` continues with the run's settings.

    ```
    untrained find --widths 512 512 --data mnist --data-dir data --epochs 5
    untrained find --config runs/mine/config.toml --seed 1 --out runs/other
    untrained find --out runs/mine --resume
    ```
    """
    from untrained.experiments.find import find as run
    from untrained.runs.text_tables import of_networks

    found = run(settings)
    of_networks(found.rows).print()
    print(_what_was_learned(found.ticket))
    print("".join(f"{line}\n" for line in _what_it_is_worth(found.rows, found.ticket)))
    if found.cut:
        say(f"No weight is kept of {', '.join(found.cut)}: no signal passes the network. Try a higher --keep,")
        print("or --scope layer, which keeps that fraction of every layer.\n")
    say(f"page     {found.page or f'none: {found.no_page}'}")
    say(f"ticket   {found.ticket}")
    say(f"picture  {found.picture or no_picture()}")
    say(f"report   {found.report}")
    return found


def _what_was_learned(ticket: Path) -> str:
    from untrained.tickets.ticket import Ticket

    read = Ticket.load(ticket)
    codes = read.codes.values()
    if read.law is None:
        return "The first network is the pretrained one; of the found one only a code for each weight was learned."
    if all(0 <= int(its.min()) and int(its.max()) <= 1 for its in codes if its.numel()):
        return "Of the first three networks not one weight was trained; of the found one only the mask was learned."
    return "The first two networks are random; of the found one a small integer was learned for each weight: its code."


def _what_it_is_worth(rows: Sequence[Row], ticket: Path) -> list[str]:
    """Return a line with the accuracy of chance, and one if the found subnetwork is no better than a random one."""
    from untrained.runs.table import FOUND, RANDOM_SUBNETWORK
    from untrained.search.metric import ACCURACY
    from untrained.tickets.ticket import Ticket

    labels = Ticket.load(ticket).meta.get("labels")
    test = {row.name: row.accuracy for row in rows if row.metric == ACCURACY}
    if not test or not isinstance(labels, list) or not labels:
        return []
    lines = [f"Chance is {1 / len(labels):.2%}: one of {len(labels)} classes."]
    if test[FOUND] <= test[RANDOM_SUBNETWORK]:
        lines.append("No better than a random subnetwork yet: more --epochs may help.")
    return lines


@app.command
def compare(
    settings: Annotated[CompareSettings, Parameter(name="*")] = CompareSettings(),  # noqa: B008  a frozen dataclass
    *,
    table: _Form = None,
    as_json: AsJson = False,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> Any:
    """Search with every method, fraction kept and seed, on the same network, data and number of epochs.

    Prints one table: mean ± standard deviation over the seeds, the paired difference to the row of `--against` with a
    confidence interval, bits per weight on disk, seconds an epoch. The trained twin and random subnetworks are always
    in it. There is no model selection: results are those of the last epoch.

    Writes into the folder of `--out`: summary.csv (the table), results.csv (every network), results.json (both),
    report.html (a page with the curves of all rows), picture.png, config.toml, and a folder per network.
    Ctrl-C keeps all finished networks; `--resume` continues.

    ```
    untrained compare --methods edge-popup,biprop --keep 0.5,0.1 --epochs 10
    untrained compare --method mine.py:MyMethod
    untrained compare --data mnist --data-dir data --widths 512 512 --epochs 5 --out runs/mnist
    untrained compare --out runs/mnist --resume
    untrained compare --out runs/mnist --resume --against biprop --table latex > table.tex
    untrained compare --epochs 10 --out runs/array --cell 1/8
    untrained compare --merge runs/array
    ```
    """
    from untrained.experiments.compare import compare as run

    _refuse_both(table, as_json)
    found = run(settings)
    _print_grid(found.lines, found.folder, found.picture, found.report, table)
    return found


@app.command
def sweep(
    settings: Annotated[SweepSettings, Parameter(name="*")] = SweepSettings(),  # noqa: B008  a frozen dataclass
    *,
    table: _Form = None,
    as_json: AsJson = False,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> Any:
    """Measure accuracy along one axis: the fraction kept, the width, or the law of the frozen weights.

    The figures of the paper (Ramanujan et al. 2019). Give several values, with commas between them, to one of `--keep`,
    `--width` and `--weights`. The trained twin and random subnetworks are always included; for widths also the twin at
    width 1. There is no model selection: results are those of the last epoch.

    Writes the files of `compare` into the folder of `--out`. Ctrl-C keeps all finished networks; `--resume` continues.

    ```
    untrained sweep --keep 0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9
    untrained sweep --width 0.5,1,2,4 --seeds 5
    untrained sweep --weights signed-constant,kaiming-normal,kaiming-uniform
    untrained sweep --keep 0.1,0.5,0.9 --methods edge-popup,biprop --out runs/sweep
    untrained sweep --out runs/sweep --resume
    ```
    """
    from untrained.experiments.sweep import sweep as run

    _refuse_both(table, as_json)
    found = run(settings)
    _print_grid(found.lines, found.folder, found.picture, found.report, table)
    return found


@app.command
def frontier(
    settings: Annotated[FrontierSettings, Parameter(name="*")] = FrontierSettings(),  # noqa: B008  a frozen dataclass
    *,
    table: _Form = None,
    as_json: AsJson = False,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> Any:
    """Compare tickets with trained networks over their sizes, and say who is ahead in which range of bytes.

    Searches with every method, fraction kept and width, and trains every opponent (quantised, ternary, binary, pruned
    and narrow networks) at every width; each is a file that is written, read back and measured. At a size, the best
    ticket and the best trained network are those with the best validation accuracy in at most so many bytes; sentences
    below the table give the difference on the test data, paired by seed, with its 95 % t interval.

    Writes the files of `compare` into the folder of `--out`: every seed is in results.csv, and report.html begins with
    who is ahead. Ctrl-C keeps all finished networks; `--resume` continues.

    ```
    untrained frontier
    untrained frontier --opponents ternary-twin,int4-twin --seeds 5
    untrained frontier --data mnist --data-dir data --widths 512 512 --epochs 5 --batch-size 128 --out runs/frontier
    untrained frontier --out runs/frontier --resume --against ternary-twin
    untrained frontier --norm none,batch --width 0.5,1,2 --keep 0.5,0.1,0.05,0.02
    ```
    """
    from untrained.experiments.frontier import frontier as run

    _refuse_both(table, as_json)
    found = run(settings)
    _print_grid(found.lines, found.folder, found.picture, found.report, table, found.sentences)
    return found


def _refuse_both(form: Form | None, as_json: bool) -> None:
    if form is not None and as_json:
        raise ValueError("--table and --json are two forms of the same results: give one of them")


def _print_grid(
    lines: Sequence[Line],
    folder: Path,
    picture: Path | None,
    report: Path | None,
    form: Form | None,
    sentences: Sequence[str] = (),
) -> None:
    from untrained.runs.text_tables import of_lines

    table = of_lines(lines)
    facts = {"table": folder / SUMMARY, "seeds": folder / TABLE, "picture": picture or no_picture(), "report": report}
    if report is None:
        facts = {"cell": f"{folder} (when all are done, join them with --merge {shlex.quote(str(folder.parent))})"}
    below = [*sentences, *table.notes, *(f"{name:<8} {fact}" for name, fact in facts.items())]
    if form is None:
        table.print()
    else:
        print(render(table, form), end="")
    for line in below:
        print(printable(line), file=sys.stdout if form is None else sys.stderr)
