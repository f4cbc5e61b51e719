"""The page about a search for a subnetwork."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from untrained.files import atomic_write
from untrained.report import charts
from untrained.report.bank_page import write_bank_report
from untrained.report.command_line import command_of
from untrained.report.film import show_film
from untrained.report.grid_page import write_grid_report
from untrained.report.page import Chart, Image, Section, Table, render
from untrained.report.pixels import photograph, weights_image
from untrained.runs.grid import holds_grid
from untrained.runs.machine import machine_lines
from untrained.runs.run import Run, read_run
from untrained.runs.settings import Settings, fill
from untrained.runs.table import FOUND, RANDOM_NETWORK, RANDOM_SUBNETWORK, TWIN
from untrained.runs.weights import first_layer
from untrained.search.metric import ACCURACY
from untrained.search.run_files import REPORT, TICKET
from untrained.terminal.text import clean
from untrained.tickets.networks import name_of
from untrained.tickets.summary import summary


def write_report(folder: str | Path) -> Path:
    """Write report.html into a run's folder, one page that needs no network, and return its path.

    The page shows the files of the run, finished or not, without computing them again.

    Args:
        folder: the folder of a run of `find`, of `fit(out=…)`, of `compare` or `sweep`, or of a network of these; or a
            bank's file, whose page is written beside it: tasks.bank.html for tasks.bank.

    Raises:
        ValueError: there is no ticket in it, or a damaged one; for `compare` and `sweep`, no results.

    Example:
        >>> ut.save(ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0), "found.ticket")
        >>> ut.write_report(".").name
        'report.html'
    """
    if Path(folder).is_file():
        return write_bank_report(folder)
    if holds_grid(folder):
        return write_grid_report(folder)
    run = read_run(folder)
    page = render(_title(run), _lead(run), [section for part in _PARTS for section in part(run)])
    path = Path(folder) / REPORT
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
    return path


def _title(run: Run) -> str:
    network, data = run.ticket.built_by, run.ticket.meta.get("data")
    title = clean(name_of(run.ticket) or "A network")
    if network is not None and isinstance(norm := network["arguments"].get("norm"), str):
        title += f" with {clean(norm)} norm"
    if isinstance(data, str):
        title += f" on {clean(Path(data).name)}"
    return f"{title}: a subnetwork of {'untrained' if run.ticket.law else 'pretrained'} weights"


def _lead(run: Run) -> list[str]:
    size, pretrained = summary(run.ticket), run.ticket.law is None
    kind, fate = ("pretrained", "each as it was") if pretrained else ("random", "none of them was trained")
    part = f"{size.kept / max(1, size.weights):.1%}"
    lead = f"{size.kept:,} of {size.weights:,} {kind} weights ({part}) are kept; {fate}. "
    value = run.ticket.meta.get("accuracy" if run.metric == ACCURACY else "test")
    if isinstance(value, float) and run.metric.holds(value):
        lead += f"The test {run.metric.words} is {run.metric.show(value)}. "
    lead += "Beside the pretrained model the ticket is" if pretrained else "The ticket is one seed and"
    return [f"{lead} {size.file_bytes:,} bytes.", *run.gaps]


def _networks(run: Run) -> Iterator[Section]:
    if not run.table:
        return
    rows = []
    for row in run.table:
        seconds = "" if row.seconds is None else f"{row.seconds:,.1f}"
        shares = row.metric.show(row.test), row.metric.show(row.val)
        rows.append((clean(row.name), *shares, f"{row.kept:,}", f"{row.file_bytes:,}", seconds))
    measured = [f"{part} {run.table[0].metric.words}" for part in ("test", "validation")]
    titles = ("network", *measured, "weights kept", "bytes to ship", "seconds")
    kinds = {
        RANDOM_NETWORK: "as it was drawn",
        RANDOM_SUBNETWORK: "with a random mask",
        FOUND: "with the found mask",
        TWIN: "with its weights trained as usual",
    }
    names = [row.name for row in run.table]
    text = f"The same network: {', '.join(kinds[name] for name in names if name in kinds)}."
    text += " The curves below are those of the validation data; the test data was used once, for this table."
    bold = names.index(FOUND) if FOUND in names else None
    yield Section("Compared networks", (text,), Table(titles, rows, bold=bold))


def _curves(run: Run) -> Iterator[Section]:
    metric, unit = run.metric, run.loss_unit
    levels = {row.name: row.val for row in run.table if row.name in (RANDOM_NETWORK, RANDOM_SUBNETWORK)}
    shown = []
    for column, title, factor, lines in (
        (f"val_{metric.name}", f"{metric.words} on validation data{metric.suffix}", metric.factor, levels),
        ("val_loss", f"loss on validation data{unit}", 1.0, {}),
        ("train_loss", f"loss on training data{unit}", 1.0, {}),
    ):
        if any(column in row for row in run.rows):
            caption = f"{title[0].upper()}{title.partition(',')[0][1:]} over the epochs"
            caption += ", and of networks that are not trained." if lines else "."
            shown.append(Chart(caption, charts.curves(run, column, title, factor, lines), wide=not shown))
        if column == "val_accuracy" and (ends := charts.zoom(run, column, factor)):
            caption = f"The same, closer: the axis goes from {ends[0]:g} to {ends[1]:g} %."
            shown.append(Chart(caption, charts.curves(run, column, title, factor, {}, ends)))
    if shown:
        yield Section("Learning curves", charts=shown)


def _subnetwork(run: Run) -> Iterator[Section]:
    samples = run.samples
    if not run.trace or not samples:
        return
    text = (
        "A line is a weight that is kept; it is thick in the epoch that adds it. Move the slider to see edges pop up."
    )
    if any(sample.weights_per_edge > 1 for sample in samples):
        text += " Where a line stands for several weights (a kernel, or all pixels of a channel), it is the stronger,"
        text += " the more of them are kept."
    all_layers = len(samples) == len(run.kept)
    cut = any(len(s.outputs) < s.shape[0] or len(s.inputs) * s.group < s.shape[1] for s in samples)
    if cut or not all_layers:
        text += " The picture shows a sample, evenly spaced: at most 16 units of a layer"
        text += "." if all_layers else f", and {len(samples)} of {len(run.kept)} layers."
    if not all_layers or not all(sample.follows for sample in samples[1:]):
        text += " Layers are joined where their sizes fit."
    caption = "The subnetwork, from its inputs on the left to its outputs on the right."
    film, title, said = show_film(run), "The subnetwork", text
    if film is not None:
        title, said = (
            "The search, epoch by epoch",
            "Only the choice of weights changes: which are kept, not what they are.",
        )
        caption += f" {text}"
    chart = Chart(caption, charts.subnetwork(run))
    yield Section(title, (said,), charts=[chart], steps=_steps(run), live=film)


def _layers(run: Run) -> Iterator[Section]:
    shares, shown, text = [round(share, 3) for share in run.kept.values()], [], []
    if len(set(shares)) == 1:
        text.append(f"Every layer keeps {shares[0]:.1%} of its weights.")
    else:
        shown.append(Chart("The share of each layer's weights that is kept.", charts.kept(run)))
    if any(each["flips"] for line in run.trace for each in line["tensors"].values()):
        shown.append(Chart("The share of each layer's mask that changed during an epoch.", charts.flips(run)))
        text.append("Where the mask hardly flips any more the search has settled; elsewhere it would change further.")
    yield Section("Layer by layer", text, charts=shown)
    if run.trace and run.samples:
        shown = [
            Chart(clean(sample.name.removesuffix(".weight"), 30), charts.scores(run, sample.name), wide=False)
            for sample in run.samples
        ]
        text = "Histograms of the scores, the only learned values."
        yield Section("Scores", (text,), charts=shown, steps=_steps(run))


def _filters(run: Run) -> Iterator[Section]:
    try:
        layer = first_layer(run)
    except ValueError:
        return
    limit = float(layer.frozen.abs().max())
    rows = []
    for title, weights in (("frozen random weights", layer.frozen), ("weights in use", layer.effective)):
        shown = [Image(weights_image(each, limit), f"unit {n}, {title}") for n, each in enumerate(weights, 1)]
        rows.append((title, shown))
    text = "Blue is positive, orange negative, empty is dropped; of several input channels the first is shown."
    if layer.units > len(layer.frozen):
        text += f" The first {len(layer.frozen)} of {layer.units:,} units."
    yield Section("The first layer", (text,), images=rows)


def _answers(run: Run) -> Iterator[Section]:
    if run.answers is None:
        return
    spec, shown = charts.confusion(run)
    names, wrong = run.labels, int((run.answers.labels != run.answers.predicted).sum())
    caption = "Rows: true class. Columns: predicted class. Colours: per cent of the row."
    caption += f" The {shown} of {len(names):,} classes that are confused most." if shown < len(names) else ""
    text = f"{wrong:,} of {len(run.answers.labels):,} test images are classified wrongly."
    images, found = [], run.mistakes
    if found is not None and len(found.labels):
        shots = []
        for image, label, predicted, share in zip(
            found.images, found.labels, found.predicted, found.probability, strict=True
        ):
            both = f"predicted {_class_name(names, predicted)}, true {_class_name(names, label)} ({share:.1%})"
            shots.append(Image(photograph(image), both, both))
        images = [("most wrong: true class with the lowest probability, in brackets", shots)]
    yield Section("Mistakes", (text,), charts=[Chart(caption, spec)], images=images)


def _cost(run: Run) -> Iterator[Section]:
    size, rows = summary(run.ticket), []
    for t in size.tensors:
        bits = f"{8 * t.stored_bytes / max(1, t.weights):.3f}"
        shape = "×".join(map(str, t.shape))
        rows.append((clean(t.name), shape, f"{t.kept:,}", f"{t.dead_units:,}", bits, f"{t.stored_bytes:,}"))
    text = f"The ticket is {size.file_bytes:,} bytes, {size.bits_per_weight:.3f} bits a weight; as 32-bit floats the "
    text += f"network would be {size.fp32_bytes:,} bytes, {size.fp32_bytes / size.file_bytes:.1f} times as many."
    if size.extra_bytes:
        text += (
            f" Of these, {size.extra_bytes:,} bytes are tensors that no seed gives: running statistics of norm layers,"
        )
        text += " or weights trained as usual."
    titles = ("tensor", "shape", "weights kept", "dead units", "bits a weight", "bytes")
    yield Section("Size of the ticket", (text,), Table(titles, rows))


def _repeat(run: Run) -> Iterator[Section]:
    text = "The ticket gives the same weights anywhere; verify draws them again and checks."
    if run.ticket.law is None:
        text = "The ticket gives the same weights anywhere, on the same pretrained model."
    command = command_of("untrained find", fill(Settings(), run.settings.get("recipe")), run.settings)
    if command and len(run.rows) == run.settings.get("epochs"):
        text = f"The same command gives the same ticket, on such a processor with the same versions and threads. {text}"
    elif command:
        text = f"This run was interrupted after epoch {len(run.rows)}; the command is that of the whole run. {text}"
    facts = {
        "seed": run.ticket.seed,
        "sha256 of the ticket": run.sha256,
        "sha256 of the weights": run.ticket.weights_sha256,
    }
    lines = "\n".join([*(f"{name}: {fact}" for name, fact in facts.items()), machine_lines(run.machines)])
    code = [command, f"untrained verify {TICKET}", lines]
    yield Section("Repeat the run", (text,), code=[line for line in code if line])


def _steps(run: Run) -> list[str]:
    """Return the names of the slider's places."""
    return [f"epoch {line['epoch']}" if line["epoch"] else "first scores" for line in run.trace]


def _class_name(names: Sequence[str], number: int) -> str:
    return (clean(names[number], 20) if number < len(names) else "") or str(number)


_PARTS = (_subnetwork, _networks, _curves, _layers, _filters, _answers, _cost, _repeat)
