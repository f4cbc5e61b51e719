"""The film of a search: after each epoch accuracy, answer to one test image, and mask of the first layer."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained.data.splits import Split
from untrained.files import read_json_lines, write_json_lines
from untrained.masking.bake import one_choice
from untrained.masking.mask import masks
from untrained.runs.rows import is_number, read_rows
from untrained.search.evaluation import evaluate, find_device, set_mode
from untrained.search.history import Epoch
from untrained.search.labels import compute_outputs
from untrained.search.metric import ACCURACY
from untrained.search.run_files import FILM

_IMAGES = 24  # units of the first layer
_WIDEST = 64  # pixels of the image that is shown


@final
@dataclass
class Film:
    """The film of a masked network's search, in the file film.jsonl of its folder.

    A line holds `epoch`, `accuracy` on the validation data, `answer`, the probability of each class for the image, and
    `mask`, that of the first layer's images as bits in base64; the first line also `image`, with the class `label`.
    The image is shown and chooses nothing.
    """

    folder: Path
    network: nn.Module
    input: Tensor
    classifies: bool
    lines: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, network: nn.Module, val: Iterable, test: Iterable, split: Split) -> Film:
        """Return the film of a network that is in the state before its first epoch.

        Args:
            folder: the folder of its run, perhaps of one that was interrupted.
            network: the masked network.
            val: batches of the validation data.
            test: batches of the test data; the image is the first.
            split: the test data.
        """
        before = evaluate(network, val)
        film = cls(folder, network, next(iter(test))[0][:1], before.metric == ACCURACY)
        film.lines = [line for line in read_json_lines(folder / FILM) if line is not None and _is_place(line)]
        if not film.lines:
            film.take(0, before.accuracy if film.classifies else None)
            pixels = split.images[torch.tensor([0], device="cpu")][0]
            apart = -(-max(pixels.shape[1:]) // _WIDEST)
            pixels = pixels[:, ::apart, ::apart].contiguous()
            film.lines[0]["image"] = {"shape": list(pixels.shape), "pixels": _to_text(pixels)}
            film.lines[0]["label"] = int(split.labels[0])
        return film

    @torch.no_grad()
    def take(self, epoch: int, accuracy: float | None) -> None:
        """Add the line of an epoch, in place of older ones from there on."""
        self.lines = [line for line in self.lines if line["epoch"] < epoch]
        with set_mode(self.network, training=False), one_choice(self.network):
            logits = compute_outputs(self.network, self.input.to(find_device(self.network)))
        line: dict[str, Any] = {"epoch": epoch, "accuracy": accuracy}
        if self.classifies and logits.ndim == 2:
            line["answer"] = [round(share, 4) for share in logits[0].float().softmax(0).tolist()]
        mask = next(iter(masks(self.network).values()))
        if (images := to_images(mask, list(self.input.shape[1:]))) is not None:
            line["mask"] = _to_text(_pack(images))
        self.lines.append(line)

    def taking(self, on_epoch: Callable[[Epoch], None] | None) -> Callable[[Epoch], None]:
        """Return a function for `fit` that adds a line after each epoch, writes the file, and calls `on_epoch`."""

        def both(epoch: Epoch) -> None:
            self.take(epoch.number, epoch.row.get("val_accuracy"))
            write_json_lines(self.folder / FILM, self.lines, separators=(",", ":"))
            if on_epoch is not None:
                on_epoch(epoch)

        return both


def read_film(folder: Path, gaps: list[str]) -> Sequence[Mapping[str, Any]]:
    """Return the lines of a run's film that are in order, none if there is none; a sentence in `gaps` if one is not."""
    if not (folder / FILM).is_file():
        return []  # `fit` alone writes none
    lines = read_rows(folder / FILM, "epoch", gaps)
    good = [line for line in lines if _is_good(line, lines[0])]
    if len(good) < len(lines):
        gaps.append(f"{FILM} is damaged: some epochs are not shown.")
    return good


def unpack(text: Any, count: int) -> Sequence[int] | None:
    """Return `count` bits of a text in base64; None if it holds another number of bytes."""
    data = _from_text(text)
    if data is None or len(data) != -(-count // 8):
        return None
    return [data[i // 8] >> i % 8 & 1 for i in range(count)]


def read_image(line: Mapping[str, Any]) -> Tensor | None:
    """Return the image of a film's first line, uint8 (1 or 3, height, width); None if there is none."""
    image = line.get("image")
    if not isinstance(image, dict) or not isinstance(shape := image.get("shape"), list) or len(shape) != 3:
        return None
    data = _from_text(image.get("pixels"))
    if any(type(side) is not int or not 0 < side <= _WIDEST for side in shape) or shape[0] not in (1, 3):
        return None
    if data is None or len(data) != shape[0] * shape[1] * shape[2]:
        return None
    return torch.tensor(list(data), dtype=torch.uint8, device="cpu").view(shape)


def to_images(weights: Tensor, shape: Any) -> Tensor | None:
    """Return the weights of the first 24 units as images, of several input channels the first; None if they are none.

    Args:
        weights: (units, inputs) or (units, channels, height, width).
        shape: shape of the network's input, if it is known.
    """
    sides = tuple(shape) if isinstance(shape, list) and all(type(n) is int for n in shape) else ()
    if weights.ndim == 4 and math.prod(weights.shape[2:]) > 1:
        sides = tuple(weights.shape[1:])
    elif len(sides) != 3 or weights.shape[1:] != (math.prod(sides),):
        return None
    return weights[:_IMAGES].reshape(-1, *sides)[:, 0]


def _is_place(line: Mapping[str, Any]) -> bool:
    return type(line.get("epoch")) is int


def _is_good(line: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    accuracy, answer, firsts = line.get("accuracy"), line.get("answer"), first.get("answer")
    if accuracy is not None and not (is_number(accuracy) and 0 <= accuracy <= 1):
        return False
    if answer is None:
        return True
    shares = isinstance(answer, list) and isinstance(firsts, list) and len(answer) == len(firsts)
    return shares and all(is_number(share) and 0 <= share <= 1 for share in answer)


def _pack(bits: Tensor) -> Tensor:
    flat = bits.flatten().to("cpu", torch.uint8)
    rows = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    return (rows << torch.arange(8, dtype=torch.uint8, device="cpu")).sum(1).to(torch.uint8)


def _to_text(data: Tensor) -> str:
    return base64.b64encode(data.numpy().tobytes()).decode()


def _from_text(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None
