"""A run's folder as data: what a search has left there, for pictures and pages; nothing is computed anew."""

from __future__ import annotations

import hashlib
import json
import tomllib
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
from untrained.files import read_json_lines, written_whole
from untrained.search import trace
from untrained.search.evaluation import Answers
from untrained.search.run_files import ANSWERS, CONFIG, METRICS, RESULTS, TICKET, TRACE, TWIN_FOLDER
from untrained.tickets.ticket import Ticket

_WORST, _MOST_CLASSES = 24, 1 << 16
_LARGEST = 1e100


@final
@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        name: what it is.
        accuracy: on the test data, 0..1.
        val_accuracy: on the validation data, 0..1.
        weights: number of weights of the network.
        kept: number of weights that are kept.
        file_bytes: bytes to ship it.
        seconds: what its epochs took, those before a resume included; None when nothing had to be done.
    """

    name: str
    accuracy: float
    val_accuracy: float
    weights: int
    kept: int
    file_bytes: int
    seconds: float | None


@final
@dataclass(frozen=True)
class Mistakes:
    """The answers a network is most wrong about.

    Attributes:
        images: uint8 (n, channels, height, width).
        labels: what is right, of each.
        predicted: what it says.
        probability: what it gives the right class, 0..1, the smallest first.
    """

    images: Tensor
    labels: tuple[int, ...]
    predicted: tuple[int, ...]
    probability: tuple[float, ...]


@final
@dataclass(frozen=True)
class Run:
    """What there is of a run. What is missing or damaged is empty or None, and `gaps` says so.

    Attributes:
        folder: where it was read.
        settings: those of `find`, as its config.toml names them; empty where another loop has searched.
        rows: the metrics, a row per epoch, as `History` has them.
        twin: those of the trained twin.
        table: the networks that were compared, the random ones first.
        trace: the lines of `trace.jsonl`, from epoch 0.
        ticket: what was found.
        sha256: of the ticket's file.
        answers: those on the test data.
        mistakes: the worst of them.
        gaps: sentences that say what is not there.
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

    @property
    def labels(self) -> list[str]:
        """Names of the classes; their numbers where the ticket has none."""
        names = self.ticket.meta.get("labels")
        if isinstance(names, list) and names:
            return [str(name) for name in names]
        last = max(self.ticket.codes.values(), key=lambda codes: codes.ndim).shape[0] if self.answers is None else 0
        count = int(max(self.answers.labels.max(), self.answers.predicted.max())) + 1 if self.answers else last
        return [str(number) for number in range(count)]

    @property
    def samples(self) -> tuple[trace.Sample, ...]:
        """What of the network is drawn."""
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
    """
    folder, gaps = Path(folder), []
    path = folder / TICKET
    if not path.is_file():
        raise ValueError(f"{folder} holds no run that a report could show: there is no {TICKET} in it")
    ticket = Ticket.load(path)
    rows = read_rows(folder / METRICS, "epoch", gaps)
    shapes = {name: tuple(codes.shape) for name, codes in ticket.codes.items()}
    traced = read_rows(folder / TRACE, "epoch", gaps)
    sound = trace.valid_lines(traced, shapes)
    if len(sound) < len(traced):
        gaps.append(f"{TRACE} is damaged: what does not fit the ticket is not shown.")
    said, mistakes = _read_answers(folder / ANSWERS, gaps)
    return Run(
        folder,
        read_settings(folder / CONFIG, gaps),
        rows,
        read_rows(folder / TWIN_FOLDER / METRICS, "epoch", gaps) if (folder / TWIN_FOLDER).is_dir() else [],
        _read_table(folder / RESULTS, gaps),
        sound,
        ticket,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        said,
        mistakes,
        gaps,
    )


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write the networks that were compared."""
    with written_whole(folder / RESULTS) as unfinished:
        networks = [asdict(row) for row in rows]
        unfinished.write_text(json.dumps({"networks": networks}, indent=1) + "\n", encoding="utf-8")


def write_answers(folder: Path, said: Answers, split: Split) -> None:
    """Write the answers of a network, and the images that it is most wrong about.

    Args:
        folder: of the run.
        said: the answers, in the order of the images.
        split: the images.
    """
    wrong = (said.labels != said.predicted).nonzero()[:, 0]
    worst = wrong[said.probability[wrong].argsort()[:_WORST]]
    tensors = {**said._asdict(), "worst": worst, "images": split.images[worst].contiguous()}
    tensors = {name: tensor.int() if tensor.dtype == torch.int64 else tensor for name, tensor in tensors.items()}
    with written_whole(folder / ANSWERS) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(tensors))


def _read_answers(path: Path, gaps: list[str]) -> tuple[Answers | None, Mistakes | None]:
    if not path.is_file():
        gaps.append(
            f"There is no {path.name} in this run's folder: what the network says of test images was not noted."
        )
        return None, None
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        said = Answers(*(tensors[name] for name in Answers._fields))
        worst, images = tensors["worst"], tensors["images"]
        whole = [said.labels, said.predicted, worst]
        if any(tensor.ndim != 1 or tensor.dtype not in (torch.int32, torch.int64) for tensor in whole):
            raise ValueError("of another form")
        if said.probability.ndim != 1 or not said.probability.is_floating_point():
            raise ValueError("of another form")
        if images.ndim != 4 or images.dtype != torch.uint8 or 0 in images.shape[1:] or len(worst) > _WORST:
            raise ValueError("of another form")
        said = said._replace(labels=said.labels.long(), predicted=said.predicted.long())
        if not len(said.labels) == len(said.predicted) == len(said.probability) > 0 or len(images) != len(worst):
            raise ValueError("they do not belong together")
        classes = torch.cat([said.labels, said.predicted])
        if not 0 <= int(classes.min()) <= int(classes.max()) < _MOST_CLASSES or not said.probability.isfinite().all():
            raise ValueError("out of range")
        worst = worst.long()
        if len(worst) and not 0 <= int(worst.min()) <= int(worst.max()) < len(said.labels):
            raise ValueError("out of range")
        its = (said.labels[worst].tolist(), said.predicted[worst].tolist(), said.probability[worst].tolist())
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError):
        gaps.append(f"{path.name} is damaged: what the network says of the test images is not shown.")
        return None, None
    return said, Mistakes(images, *map(tuple, its))


def read_rows(path: Path, key: str, gaps: list[str]) -> list[dict[str, Any]]:
    """Rows of a .jsonl file whose `key` rises, up to the first that is none; `gaps` takes what is wrong."""
    if not path.is_file():
        gaps.append(f"There is no {path.name} in this run's folder.")
        return []
    rows = []
    for number, row in enumerate(read_json_lines(path), 1):
        place = None if row is None else row.get(key)
        if row is None or type(place) is not int or place < 0 or (rows and place <= rows[-1][key]):
            gaps.append(f"{path.name} is damaged from line {number} on; what comes after is not shown.")
            break
        rows.append(row)
    return rows


def is_number(value: object) -> bool:
    """Whether it can be drawn: a finite number, not absurdly large."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def read_settings(path: Path, gaps: list[str]) -> dict[str, Any]:
    """A config.toml, or nothing; `gaps` takes what is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError):
        gaps.append(f"{path.name} is damaged: the command of this run is not known.")
        return {}


def _read_table(path: Path, gaps: list[str]) -> list[Row]:
    if not path.is_file():
        gaps.append("There is nothing that it was compared with.")
        return []
    try:
        rows = [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["networks"]]
        for row in rows:
            check_fields(row)
            shares = 0 <= row.accuracy <= 1 and 0 <= row.val_accuracy <= 1
            if not shares or min(row.weights, row.kept, row.file_bytes) < 0 or not is_number(row.seconds or 0):
                raise ValueError("out of range")
        return rows
    except (ValueError, LookupError, TypeError, RecursionError):
        gaps.append(f"{path.name} is damaged: what it was compared with is not shown.")
        return []
