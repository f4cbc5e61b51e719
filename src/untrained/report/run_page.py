"""The page about a search for a subnetwork."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from untrained._version import __version__
from untrained.files import written_whole
from untrained.report import charts
from untrained.report.command_line import command_of
from untrained.report.page import Chart, Image, Section, Table, render
from untrained.report.pixels import photograph, weights_image
from untrained.runs.run import Run, read_run
from untrained.runs.settings import Settings
from untrained.runs.table import FOUND, RANDOM_NETWORK, RANDOM_SUBNETWORK, TWIN
from untrained.runs.weights import first_layer
from untrained.search.run_files import REPORT, TICKET
from untrained.terminal.text import clean
from untrained.tickets.summary import summary


def write_report(folder: str | Path) -> Path:
    """Write report.html into a run's folder: one page about what was found, and how, that needs no network.

    It is made from what the run has left there, whether it got to its end or not; nothing is computed anew.

    Args:
        folder: of a run of `find`, `fit(out=…)`, or a network of `compare`.

    Returns:
        The page.

    Raises:
        ValueError: there is no ticket in it, or a damaged one.
    """
    run = read_run(folder)
    page = render(_title(run), _lead(run), [section for part in _PARTS for section in part(run)])
    path = Path(folder) / REPORT
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
    return path


def _title(run: Run) -> str:
    network, data = run.ticket.built_by, run.ticket.meta.get("data")
    what = "A network" if network is None else clean(network["name"])
    if isinstance(data, str):
        what += f" on {clean(Path(data).name)}"
    return f"{what}: a subnetwork of {'untrained' if run.ticket.law else 'pretrained'} weights"


def _lead(run: Run) -> list[str]:
    size = summary(run.ticket)
    share = f"{size.kept:,} of {size.weights:,}"
    part = f"({size.kept / max(1, size.weights):.1%})"
    if run.ticket.law is None:
        lead = f"{share} pretrained weights {part} are kept, each as it was. "
    else:
        lead = f"{share} random weights {part} are kept; not one of them was trained. "
    accuracy = run.ticket.meta.get("accuracy")
    if isinstance(accuracy, float) and 0 <= accuracy <= 1:
        lead += f"It is right on {accuracy:.2%} of the test images. "
    if run.ticket.law is None:
        lead += f"Beside the pretrained model it is {size.file_bytes:,} bytes."
    else:
        lead += f"All of it is one seed and {size.file_bytes:,} bytes."
    return [lead, *run.gaps]


def _networks(run: Run) -> Iterator[Section]:
    if not run.table:
        return
    rows = [
        (
            clean(row.name),
            f"{row.accuracy:.2%}",
            f"{row.val_accuracy:.2%}",
            f"{row.kept:,}",
            f"{row.file_bytes:,}",
            "" if row.seconds is None else f"{row.seconds:,.1f}",
        )
        for row in run.table
    ]
    titles = ("network", "test accuracy", "validation accuracy", "weights kept", "bytes to ship", "seconds")
    names = [row.name for row in run.table]
    bold = names.index(FOUND) if FOUND in names else None
    kinds = {
        RANDOM_NETWORK: "as it was drawn",
        RANDOM_SUBNETWORK: "with a random mask",
        FOUND: "with what was found",
        TWIN: "with its weights trained as usual",
    }
    told = ", ".join(kinds[name] for name in names if name in kinds)
    text = (
        f"The same network: {told}. Validation data draws the curves below; the test data was looked at once, for this "
        "table."
    )
    yield Section("What was compared", (text,), Table(titles, rows, bold=bold))


def _curves(run: Run) -> Iterator[Section]:
    lines = {row.name: row.val_accuracy for row in run.table if row.name.startswith("random")}
    shown = []
    for column, title, factor, flat in (
        ("val_accuracy", "accuracy on validation data, %", 100.0, lines),
        ("val_loss", "loss on validation data, nats", 1.0, {}),
        ("train_loss", "loss on training data, nats", 1.0, {}),
    ):
        if any(column in row for row in run.rows):
            says = f"{title.partition(',')[0].capitalize()} over the epochs"
            says += ", beside networks that learn nothing." if flat else "."
            shown.append(Chart(says, charts.curves(run, column, title, factor, flat), wide=not shown))
    if shown:
        yield Section("How it learned", charts=shown)


def _subnetwork(run: Run) -> Iterator[Section]:
    if not run.trace or not run.samples:
        return
    samples = run.samples
    steps = [_step(line["epoch"]) for line in run.trace]
    cut = any(len(s.outputs) < s.shape[0] or len(s.inputs) * s.group < s.shape[1] for s in samples)
    text = (
        "A line is a weight that is kept; a thick one was taken up in that epoch. Move the slider to see edges pop up."
    )
    if any(sample.weights_per_edge > 1 for sample in samples):
        text += (
            " Where a line stands for several weights (a kernel, or all pixels of a channel), it is the stronger, "
            "the more of them are kept."
        )
    if cut or len(samples) < len(run.kept):
        text += " A fair sample is drawn, evenly spaced and not chosen by anything: at most 16 units of a layer"
        text += f", and {len(samples)} of {len(run.kept)} layers." if len(samples) < len(run.kept) else "."
    if len(samples) < len(run.kept) or not all(sample.follows for sample in samples[1:]):
        text += " Layers are joined where their sizes fit."
    chart = Chart("The subnetwork, from its inputs on the left to its outputs on the right.", charts.subnetwork(run))
    yield Section("The subnetwork", (text,), charts=[chart], steps=steps)


def _layers(run: Run) -> Iterator[Section]:
    shown = [Chart("What each layer keeps, in per cent of its weights.", charts.kept(run))]
    text = []
    if any(each["flips"] for line in run.trace for each in line["tensors"].values()):
        shown.append(Chart("How much of each layer's mask changed during an epoch.", charts.flips(run)))
        text = ["Where the mask hardly flips any more the search has settled; elsewhere it would go on changing."]
    yield Section("Layer by layer", text, charts=shown)
    if run.trace and run.samples:
        steps = [_step(line["epoch"]) for line in run.trace]
        shown = [
            Chart(clean(sample.name.removesuffix(".weight"), 30), charts.scores(run, sample.name), wide=False)
            for sample in run.samples
        ]
        text = "How many weights have which score. The scores are what is learned."
        yield Section("Scores", (text,), charts=shown, steps=steps)


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
    classes = len(run.labels)
    says = "Rows are what is right, columns what the network says; colours are per cent of the row."
    if shown < classes:
        says += f" The {shown} of {classes:,} classes that are confused most."
    wrong = int((run.answers.labels != run.answers.predicted).sum())
    text = f"{wrong:,} of {len(run.answers.labels):,} test images are told wrong."
    images = []
    if run.mistakes is not None and len(run.mistakes.labels):
        found, labels = run.mistakes, run.labels
        each = zip(found.images, found.labels, found.predicted, found.probability, strict=True)
        shots = []
        for image, right, said, probability in each:
            told = f"says {_label(labels, said)}, is {_label(labels, right)} ({probability:.1%})"
            shots.append(Image(photograph(image), told, told))
        images = [("most wrong: those whose right class was given the least, in brackets", shots)]
    yield Section("Where it is wrong", (text,), charts=[Chart(says, spec)], images=images)


def _cost(run: Run) -> Iterator[Section]:
    size = summary(run.ticket)
    rows = [
        (
            clean(t.name),
            "×".join(map(str, t.shape)),
            f"{t.kept:,}",
            f"{t.dead_units:,}",
            f"{8 * t.stored_bytes / max(1, t.weights):.3f}",
            f"{t.stored_bytes:,}",
        )
        for t in size.tensors
    ]
    text = (
        f"The ticket is {size.file_bytes:,} bytes, {size.bits_per_weight:.3f} bits a weight; as 32-bit floats the "
        f"network would be {size.fp32_bytes:,} bytes, {size.fp32_bytes / size.file_bytes:.1f} times as many."
    )
    if size.extra_bytes:
        text += (
            f" Of these, {size.extra_bytes:,} bytes are tensors that no seed gives: running statistics of norm layers, "
            "or what was trained as usual."
        )
    titles = ("tensor", "shape", "weights kept", "dead units", "bits a weight", "bytes")
    yield Section("What it costs to ship", (text,), Table(titles, rows))


def _again(run: Run) -> Iterator[Section]:
    facts = {
        "seed": run.ticket.seed,
        "sha256 of the ticket's file": run.sha256,
        "sha256 of the weights it gives": run.ticket.weights_sha256,
        "made with": f"untrained {__version__}",
    }
    text = "The ticket gives the same weights anywhere; verify draws them again and checks."
    if run.ticket.law is None:
        text = "The ticket gives the same weights anywhere, on the same pretrained model."
    command = command_of("untrained find", Settings(), run.settings)
    if command and len(run.rows) == run.settings.get("epochs"):
        text = f"The same command gives the same ticket, with the same versions and threads. {text}"
    elif command:
        text = f"This run was interrupted after epoch {len(run.rows)}; the command is that of the whole run. {text}"
    said = "\n".join(f"{name}: {fact}" for name, fact in facts.items())
    code = [command, f"untrained verify {TICKET}", said]
    yield Section("Do it again", (text,), code=[line for line in code if line])


def _step(epoch: int) -> str:
    return "first scores" if epoch == 0 else f"epoch {epoch}"


def _label(labels: Sequence[str], number: int) -> str:
    return (clean(labels[number], 20) if number < len(labels) else "") or str(number)


_PARTS = (_networks, _curves, _subnetwork, _layers, _filters, _answers, _cost, _again)
