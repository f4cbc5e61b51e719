"""The trace of a search: kept shares, flips, histograms of the scores and some edges of every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from untrained.files import read_json_lines, write_json_lines
from untrained.masking.mask import record
from untrained.search.run_files import TRACE

BINS = 40
_UNITS = 16  # of a layer, at most
_DRAWN = 8  # tensors, at most
_SCORES = 1_000_000  # of a tensor, at most


@final
@dataclass(frozen=True)
class Sample:
    """The part of a weight (outputs, inputs, positions) that is drawn: evenly spaced outputs and groups of inputs.

    An edge leads from a group of inputs to an output: the weights between them, in a convolution a kernel's.

    Attributes:
        name, shape: of the tensor.
        outputs: indices of the outputs drawn.
        inputs: indices of the groups of inputs drawn.
        group: inputs in a group: 1, or after a flattened convolution the pixels of a channel.
        follows: the groups of inputs are the outputs of the drawn tensor before.
    """

    name: str
    shape: tuple[int, ...]
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    group: int
    follows: bool

    @property
    def weights_per_edge(self) -> int:
        """Number of weights of an edge."""
        return self.group * math.prod(self.shape[2:])

    def edges(self, mask: Tensor) -> str:
        """Return a digit per edge, outputs first: 0 if none of its weights are kept, 9 if all are."""
        rows = mask.flatten(1)[torch.tensor(self.outputs, device=mask.device)]
        groups = rows.view(len(self.outputs), -1, self.weights_per_edge)
        kept = groups[:, torch.tensor(self.inputs, device=mask.device)].float().mean(2)
        digits = torch.where((kept > 0) & (kept < 1), (9 * kept).round().clamp(1, 8), 9 * kept)
        return "".join(map(str, digits.int().flatten().tolist()))


@final
@dataclass
class Trace:
    """The epochs of a search so far, a line each, from epoch 0: the first scores.

    A line holds `epoch` and `tensors`: by name the shares `kept` and `flips` (changed during the epoch; None if not
    known, as in epoch 0), `scores` (`low`, `high` and `counts` in `BINS` equal bins) and, if drawn, `edges`.
    """

    samples: tuple[Sample, ...]
    lines: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Return a trace of a masked model, without a line yet."""
        return cls(choose_samples({state.name: state.shape for state in record(model).states}))

    @torch.no_grad()
    def add(self, epoch: int, model: nn.Module, masks: Mapping[str, Tensor], flips: Mapping[str, float]) -> None:
        """Add the line of an epoch, unless it is there already."""
        if self.lines and self.lines[-1]["epoch"] >= epoch:
            return
        drawn = {sample.name: sample for sample in self.samples}
        tensors = {}
        for state in record(model).states:
            mask = masks[state.name]
            tensors[state.name] = {
                "kept": round(float(mask.float().mean()), 6) if mask.numel() else 0.0,
                "flips": round(flips[state.name], 6) if state.name in flips else None,
                "scores": _histogram(state.scores),
            }
            if state.name in drawn and mask.numel():
                tensors[state.name]["edges"] = drawn[state.name].edges(mask)
        self.lines.append({"epoch": epoch, "tensors": tensors})

    def write(self, folder: Path) -> None:
        """Write all lines, or none."""
        write_json_lines(folder / TRACE, self.lines, separators=(",", ":"))

    def load(self, folder: Path, epoch: int) -> None:
        """Read the lines of an interrupted search up to an epoch, or to the first that is damaged."""
        for line in read_json_lines(folder / TRACE):
            if line is None or type(line.get("epoch")) is not int or line["epoch"] > epoch:
                return
            self.lines.append(line)


def choose_samples(shapes: Mapping[str, Sequence[int]]) -> tuple[Sample, ...]:
    """Choose at most 8 tensors, evenly spaced from the first to the last, and at most 16 outputs of each.

    A tensor follows the one before if their sizes fit. `shapes` are those of the masked tensors by name, (outputs,
    inputs, …), in the order of the network.
    """
    names = [name for name, shape in shapes.items() if math.prod(shape)]
    chosen: list[Sample] = []
    last, most = -1, min(len(names), _DRAWN)
    for place in (number * (len(names) - 1) // max(1, most - 1) for number in range(most)):
        shape = tuple(shapes[names[place]])
        inputs, group, follows = _choose_units(shape[1]), 1, False
        if place == last + 1 and chosen and shape[1] % chosen[-1].shape[0] == 0:
            inputs, group, follows = chosen[-1].outputs, shape[1] // chosen[-1].shape[0], True
        last = place
        chosen.append(Sample(names[place], shape, _choose_units(shape[0]), inputs, group, follows))
    return tuple(chosen)


def valid_lines(lines: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]]) -> list[Mapping[str, Any]]:
    """Return the lines, with rising epochs, that fit a model with tensors of these shapes."""
    good: list[Mapping[str, Any]] = []
    for line in lines:
        tensors = line.get("tensors")
        if not isinstance(tensors, dict) or sorted(tensors) != sorted(shapes):
            continue
        if good and list(tensors) != list(good[0]["tensors"]):
            continue
        chosen = choose_samples({name: shapes[name] for name in tensors})
        edges = {sample.name: len(sample.outputs) * len(sample.inputs) for sample in chosen}
        if all(_is_valid(each, edges.get(name)) for name, each in tensors.items()):
            good.append(line)
    return good


def _is_valid(entry: Any, edges: int | None) -> bool:
    try:
        kept, flips, scores = entry["kept"], entry["flips"], entry["scores"]
        low, high, counts = scores["low"], scores["high"], scores["counts"]
        shares = 0 <= kept <= 1 and (flips is None or 0 <= flips <= 1)
        bins = len(counts) == BINS and all(type(count) is int and count >= 0 for count in counts)
        digits = entry["edges"] if edges is not None else "0"
        text = isinstance(digits, str) and len(digits) == (edges or 1) and digits.isascii() and digits.isdigit()
        return shares and bins and text and math.isfinite(high - low)
    except (LookupError, TypeError, OverflowError):
        return False


def count_flips(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[float, dict[str, float]]:
    """Return the share of weights whose mask differs: of all, and of every tensor."""
    changed = {name: int((before[name] != mask).sum()) for name, mask in after.items()}
    total = sum(mask.numel() for mask in after.values())
    return sum(changed.values()) / total, {name: n / max(1, after[name].numel()) for name, n in changed.items()}


def _choose_units(count: int) -> tuple[int, ...]:
    most = min(count, _UNITS)
    return tuple((2 * place + 1) * count // (2 * most) for place in range(most))


def _histogram(scores: Tensor) -> dict[str, Any]:
    some = scores.detach().flatten()[:: max(1, scores.numel() // _SCORES)].float()
    if not some.numel():
        return {"low": 0.0, "high": 0.0, "counts": [0] * BINS}
    low, high = (float(x) for x in some.aminmax())
    # torch.histc refuses scores that are not finite.
    places = ((some - low) / (high - low or 1.0) * BINS).nan_to_num().long().clamp(0, BINS - 1)
    return {"low": low, "high": high, "counts": torch.bincount(places, minlength=BINS).tolist()}
