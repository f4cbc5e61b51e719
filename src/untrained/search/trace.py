"""What a search leaves of every epoch for those who want to see it: what is kept, what flips, scores, some edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from untrained.files import read_json_lines, write_json_lines
from untrained.masking import mask as attach
from untrained.search.run_files import TRACE

BINS = 40
_UNITS = 16  # of a layer, at most
_DRAWN = 8  # tensors, at most
_SCORES = 1_000_000  # of a tensor, at most


@final
@dataclass(frozen=True)
class Sample:
    """The part of a weight that is drawn: evenly spaced units, and evenly spaced groups of inputs.

    The weight is seen as (outputs, inputs, positions). An edge leads from an input group to an output; what is kept of
    it is the share of its weights, in a convolution those of a kernel, behind one those of all pixels of a channel.

    Attributes:
        name: of the tensor.
        shape: of the tensor.
        outputs: the units drawn.
        inputs: the input groups drawn; where they are the units of the drawn tensor before, they are the same.
        group: inputs in a group.
        follows: whether the input groups are the units of the drawn tensor before.
    """

    name: str
    shape: tuple[int, ...]
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    group: int
    follows: bool

    @property
    def weights_per_edge(self) -> int:
        """How many weights an edge is."""
        return self.group * math.prod(self.shape[2:])

    def edges(self, mask: Tensor) -> str:
        """A digit per edge, outputs first: 0 where none of its weights are kept, 9 where all are."""
        rows = mask.flatten(1)[torch.tensor(self.outputs, device=mask.device)]
        groups = rows.view(len(self.outputs), -1, self.weights_per_edge)
        kept = groups[:, torch.tensor(self.inputs, device=mask.device)].float().mean(2)
        # Only what is wholly dropped is a 0, only what is wholly kept a 9.
        digits = torch.where((kept > 0) & (kept < 1), (9 * kept).round().clamp(1, 8), 9 * kept)
        return "".join(map(str, digits.int().flatten().tolist()))


@final
@dataclass
class Trace:
    """The epochs of one search so far, a line each, from epoch 0: the first scores.

    A line holds `epoch` and `tensors`: by name the shares `kept` and `flips` (changed during the epoch; None where
    that is not known, as of epoch 0), `scores`
    (their `low`, `high` and `counts` in `BINS` bins as wide as each other) and, of the tensors drawn, `edges`.
    """

    samples: tuple[Sample, ...]
    lines: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """A trace of a masked model, without a line yet."""
        return cls(samples({state.name: state.shape for state in attach.record(model).states}))

    @torch.no_grad()
    def add(self, epoch: int, model: nn.Module, masks: Mapping[str, Tensor], flips: Mapping[str, float]) -> None:
        """Note an epoch, unless it is there already."""
        if self.lines and self.lines[-1]["epoch"] >= epoch:
            return
        drawn = {sample.name: sample for sample in self.samples}
        tensors = {}
        for state in attach.record(model).states:
            mask = masks[state.name]
            tensors[state.name] = {
                "kept": _rounded(float(mask.float().mean())) if mask.numel() else 0.0,
                "flips": _rounded(flips[state.name]) if state.name in flips else None,
                "scores": _histogram(state.scores),
            }
            if state.name in drawn and mask.numel():
                tensors[state.name]["edges"] = drawn[state.name].edges(mask)
        self.lines.append({"epoch": epoch, "tensors": tensors})

    def write(self, folder: Path) -> None:
        """Write all lines, or none."""
        write_json_lines(folder / TRACE, self.lines, separators=(",", ":"))

    def take_up(self, folder: Path, epoch: int) -> None:
        """Read what an interrupted search has noted up to an epoch; what cannot be read is only not to be seen."""
        for line in read_json_lines(folder / TRACE):
            if line is None or type(line.get("epoch")) is not int or line["epoch"] > epoch:
                return
            self.lines.append(line)


def samples(shapes: Mapping[str, Sequence[int]]) -> tuple[Sample, ...]:
    """Which part of each tensor is drawn: at most 8 tensors and 16 units of a layer, evenly spaced.

    The first and the last tensor are among them. A tensor is taken to follow the one before if their sizes fit.

    Args:
        shapes: of the masked tensors by name, in the order of the network, (outputs, inputs, …).
    """
    names = [name for name, shape in shapes.items() if math.prod(shape)]
    chosen: list[Sample] = []
    last = -1
    most = min(len(names), _DRAWN)
    for place in (number * (len(names) - 1) // max(1, most - 1) for number in range(most)):
        shape = tuple(shapes[names[place]])
        inputs, group, follows = _spaced(shape[1], _UNITS), 1, False
        if place == last + 1 and chosen and shape[1] % chosen[-1].shape[0] == 0:
            inputs, group, follows = chosen[-1].outputs, shape[1] // chosen[-1].shape[0], True
        last = place
        chosen.append(Sample(names[place], shape, _spaced(shape[0], _UNITS), inputs, group, follows))
    return tuple(chosen)


def sound(lines: Sequence[Mapping[str, Any]], shapes: Mapping[str, Sequence[int]]) -> list[Mapping[str, Any]]:
    """Those of the lines that a `Trace` of a model with tensors of these shapes can have written."""
    good: list[Mapping[str, Any]] = []
    for line in lines:
        tensors = line.get("tensors")
        if not isinstance(tensors, dict) or sorted(tensors) != sorted(shapes):
            continue
        if good and (list(tensors) != list(good[0]["tensors"]) or line["epoch"] <= good[-1]["epoch"]):
            continue
        drawn = {s.name: len(s.outputs) * len(s.inputs) for s in samples({name: shapes[name] for name in tensors})}
        if all(_is_sound(each, drawn.get(name)) for name, each in tensors.items()):
            good.append(line)
    return good


def _is_sound(entry: Any, edges: int | None) -> bool:
    try:
        kept, flips, scores = entry["kept"], entry["flips"], entry["scores"]
        low, high, counts = scores["low"], scores["high"], scores["counts"]
        shares = 0 <= kept <= 1 and (flips is None or 0 <= flips <= 1)
        bins = len(counts) == BINS and all(type(count) is int and count >= 0 for count in counts)
        digits = entry["edges"] if edges is not None else "0"
        return shares and bins and math.isfinite(high - low) and _is_digits(digits, edges or 1)
    except (LookupError, TypeError, OverflowError):
        return False


def _is_digits(text: Any, count: int) -> bool:
    return isinstance(text, str) and len(text) == count and text.isascii() and text.isdigit()


def flips_of(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[float, dict[str, float]]:
    """The share of weights whose mask differs: of all, and of every tensor."""
    changed = {name: int((before[name] != mask).sum()) for name, mask in after.items()}
    total = sum(mask.numel() for mask in after.values())
    return sum(changed.values()) / total, {name: n / max(1, after[name].numel()) for name, n in changed.items()}


def _spaced(count: int, most: int) -> tuple[int, ...]:
    if count <= most:
        return tuple(range(count))
    return tuple((2 * place + 1) * count // (2 * most) for place in range(most))


def _histogram(scores: Tensor) -> dict[str, Any]:
    some = scores.detach().flatten()[:: max(1, scores.numel() // _SCORES)].float()
    if not some.numel():
        return {"low": 0.0, "high": 0.0, "counts": [0] * BINS}
    low, high = (float(x) for x in some.aminmax())
    # A bin's place by hand, as torch.histc refuses what is not finite.
    places = ((some - low) / (high - low or 1.0) * BINS).nan_to_num().long().clamp(0, BINS - 1)
    return {"low": low, "high": high, "counts": torch.bincount(places, minlength=BINS).tolist()}


def _rounded(share: float) -> float:
    return round(share, 6)
