"""A run as data, read from the files in its folder, for pictures and pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from untrained.data.splits import Split
from untrained.fields import check_fields
from untrained.files import atomic_write
from untrained.runs.film import read_film
from untrained.runs.machine import Machine, read_machines
from untrained.runs.measured import Measured
from untrained.runs.rows import is_number, read_rows, read_settings
from untrained.search import trace
from untrained.search.evaluation import Answers
from untrained.search.metric import ACCURACY, Metric
from untrained.search.run_files import ANSWERS, CONFIG, METRICS, RESULTS, TICKET, TRACE, TWIN_FOLDER
from untrained.tickets.ticket import Ticket

_WORST, _MOST_CLASSES = 24, 1 << 16


@final
@dataclass(frozen=True)
class Row(Measured):
    """Result of one network in the table of a run.

    Attributes:
        name: the network, such as "found subnetwork".
        accuracy: on the test data, 0..1; NaN if the metric is another.
        val_accuracy: on the validation data, 0..1.
        weights: number of weights of the network.
        kept: number of weights that are kept.
        file_bytes: bytes to ship it.
        seconds: time of its epochs, those before a resume included; None for a network without any.
        metric: the metric of the table.
        value, val_value: of another metric than accuracy, on the test data and on the validation data; else None.
    """

    name: str
    accuracy: float
    val_accuracy: float
    weights: int
    kept: int
    file_bytes: int
    seconds: float | None
    metric: Metric = ACCURACY
    value: float | None = None
    val_value: float | None = None


@final
@dataclass(frozen=True)
class Mistakes:
    """Wrongly classified test images whose true class has the lowest probability.

    Attributes:
        images: uint8 (n, channels, height, width).
        labels: true class of each image.
        predicted: class that the network predicts.
        probability: probability of the true class, 0..1, the smallest first.
    """

    images: Tensor
    labels: tuple[int, ...]
    predicted: tuple[int, ...]
    probability: tuple[float, ...]


@final
@dataclass(frozen=True)
class Run:
    """Contents of a run's folder. A missing or damaged part is empty or None, and a sentence in `gaps`.

    Attributes:
        folder: the folder.
        settings: settings of `find`, as in config.toml; empty after another loop.
        rows: metrics, a row per epoch, as in `History`.
        twin: metrics of the trained twin.
        table: results of the networks that were compared, the random ones first.
        trace: lines of trace.jsonl, from epoch 0.
        ticket: the found ticket.
        sha256: hash of the ticket's file.
        answers: the network's answers on the test data.
        mistakes: the wrong answers with the lowest probability of the true class.
        gaps: sentences about missing and damaged files.
        film: lines of film.jsonl, which `find` writes, from epoch 0.
        machines: the machines on which the search ran, as far as they are known.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=2, out="run", title=None)
        >>> [row["epoch"] for row in ut.read_run("run").rows]
        [1, 2]
    """

    folder: Path
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    twin: Sequence[Mapping[str, Any]]
    table: Sequence[Row]
    trace: Sequence[Mapping[str, Any]]
    ticket: Ticket
    sha256: str
    answers: Answers | None
    mistakes: Mistakes | None
    gaps: Sequence[str]
    film: Sequence[Mapping[str, Any]] = ()
    machines: Sequence[Machine] = ()

    @property
    def metric(self) -> Metric:
        """The metric of the run; accuracy if its ticket names none."""
        return Metric.read(self.ticket.meta)

    @property
    def loss_unit(self) -> str:
        """The unit of the loss behind a comma: ", nats" for cross entropy; or nothing."""
        loss = self.ticket.meta.get("loss", "cross-entropy")
        return ", nats" if str(loss).startswith(("cross-entropy", "next-token")) else ""

    @property
    def labels(self) -> list[str]:
        """Names of the classes; their numbers if the ticket has none."""
        names = self.ticket.meta.get("labels")
        if isinstance(names, list) and names:
            return [str(name) for name in names]
        answers = self.answers
        count = 0 if answers is None else int(max(answers.labels.max(), answers.predicted.max())) + 1
        return [str(number) for number in range(count)]

    @property
    def samples(self) -> tuple[trace.Sample, ...]:
        """The parts of the network's tensors that are drawn."""
        return trace.choose_samples({name: tuple(codes.shape) for name, codes in self._in_order()})

    @property
    def kept(self) -> dict[str, float]:
        """Share of each tensor that is kept, in the order of the network."""
        return {name: float((codes != 0).float().mean()) for name, codes in self._in_order() if codes.numel()}

    def _in_order(self) -> Iterable[tuple[str, Tensor]]:
        # A ticket's tensors are sorted by name; the trace has them as the network has them.
        known = list(self.trace[0]["tensors"]) if self.trace else []
        names = known if sorted(known) == sorted(self.ticket.codes) else sorted(self.ticket.codes)
        return ((name, self.ticket.codes[name]) for name in names)


def read_run(folder: str | Path) -> Run:
    """Read the folder of a run of `find` or of `fit(out=…)`, finished or interrupted.

    Raises:
        ValueError: there is no ticket in it, or a damaged one.

    Example:
        >>> ut.save(ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0), "found.ticket")
        >>> ut.read_run(".").kept
        {'weight': 0.5}
    """
    folder, gaps = Path(folder), []
    path = folder / TICKET
    if not path.is_file():
        raise ValueError(f"{folder} holds no run: there is no {TICKET} in it")
    ticket = Ticket.load(path)
    rows = read_rows(folder / METRICS, "epoch", gaps)
    shapes = {name: tuple(codes.shape) for name, codes in ticket.codes.items()}
    traced = read_rows(folder / TRACE, "epoch", gaps)
    valid = trace.valid_lines(traced, shapes)
    if len(valid) < len(traced):
        gaps.append(f"{TRACE} is damaged: parts that do not fit the ticket are not shown.")
    answers, mistakes = _read_answers(folder / ANSWERS, gaps)
    return Run(
        folder,
        read_settings(folder / CONFIG, gaps),
        rows,
        read_rows(folder / TWIN_FOLDER / METRICS, "epoch", gaps) if (folder / TWIN_FOLDER).is_dir() else [],
        _read_table(folder / RESULTS, gaps),
        valid,
        ticket,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        answers,
        mistakes,
        gaps,
        read_film(folder, gaps),
        read_machines([folder], gaps),
    )


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write the networks that were compared."""
    with atomic_write(folder / RESULTS) as unfinished:
        networks = [_plain(asdict(row)) for row in rows]
        unfinished.write_text(json.dumps({"networks": networks}, indent=1) + "\n", encoding="utf-8")


def write_answers(folder: Path, answers: Answers, split: Split) -> None:
    """Write the answers of a network to the images of a split, and its worst mistakes."""
    wrong = (answers.labels != answers.predicted).nonzero()[:, 0]
    worst = wrong[answers.probability[wrong].argsort()[:_WORST]]
    tensors = {**answers._asdict(), "worst": worst, "images": split.images[worst].contiguous()}
    tensors = {name: tensor.int() if tensor.dtype == torch.int64 else tensor for name, tensor in tensors.items()}
    with atomic_write(folder / ANSWERS) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(tensors))


def _read_answers(path: Path, gaps: list[str]) -> tuple[Answers | None, Mistakes | None]:
    if not path.is_file():
        gaps.append(f"There is no {path.name} in this run's folder: the answers to the test images are not shown.")
        return None, None
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        labels, predicted, worst = (_integers(tensors[name]) for name in ("labels", "predicted", "worst"))
        probability, images = tensors["probability"], tensors["images"]
        good = (
            probability.ndim == 1
            and probability.is_floating_point()
            and bool(probability.isfinite().all())
            and len(labels) == len(predicted) == len(probability) > 0
            and _in_range(torch.cat([labels, predicted]), _MOST_CLASSES)
            and images.ndim == 4
            and images.dtype == torch.uint8
            and 0 not in images.shape[1:]
            and len(images) == len(worst) <= _WORST
            and _in_range(worst, len(labels))
        )
        if not good:
            raise ValueError("out of range, or of another form")
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError):
        gaps.append(f"{path.name} is damaged: the answers to the test images are not shown.")
        return None, None
    columns = ((each[worst].tolist()) for each in (labels, predicted, probability))
    return Answers(labels, predicted, probability), Mistakes(images, *map(tuple, columns))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for its file: with the fields of its metric alone."""
    metric = row.pop("metric")
    other = {name: row.pop(name) for name in ("value", "val_value")}
    if metric == asdict(ACCURACY):
        return row
    return {name: fact for name, fact in row.items() if "accuracy" not in name} | {"metric": metric, **other}


def _row(row: dict[str, Any]) -> Row:
    other = {} if "metric" not in row else dict.fromkeys(("accuracy", "val_accuracy"), float("nan"))
    return Row(**{**row, **other, "metric": Metric.read(row)})


def _integers(tensor: Tensor) -> Tensor:
    if tensor.ndim != 1 or tensor.dtype not in (torch.int32, torch.int64):
        raise ValueError("no list of integers")
    return tensor.long()


def _in_range(numbers: Tensor, end: int) -> bool:
    return not len(numbers) or 0 <= int(numbers.min()) <= int(numbers.max()) < end


def _read_table(path: Path, gaps: list[str]) -> list[Row]:
    if not path.is_file():
        gaps.append(f"There is no {path.name} in this run's folder: no baselines were measured.")
        return []
    try:
        rows = [_row(row) for row in json.loads(path.read_text(encoding="utf-8"))["networks"]]
        for row in rows:
            check_fields(row)
            good = row.metric.holds(row.test) and row.metric.holds(row.val)
            if not good or min(row.weights, row.kept, row.file_bytes) < 0 or not is_number(row.seconds or 0):
                raise ValueError("out of range")
        return rows
    except (ValueError, LookupError, TypeError, RecursionError):
        gaps.append(f"{path.name} is damaged: the baselines are not shown.")
        return []
