"""The weights behind a run's ticket: frozen, in use, their signs, and those of the first layer as images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from untrained.methods.base import Method
from untrained.runs.film import to_images
from untrained.runs.run import Run
from untrained.search.trace import Sample


def frozen_of(run: Run, name: str) -> Tensor | None:
    """Return the frozen weights of a tensor, perhaps several draws; None for those of a pretrained model."""
    ticket, entry = run.ticket, run.ticket.tensors[name]
    if ticket.law is None or entry.method is None:
        return None
    return entry.method.frozen(entry.source(name, ticket.seed, ticket.law), ticket.codes[name])


def effective_of(run: Run, name: str) -> Tensor:
    """Return the weights in use of a tensor; the ticket must have a law."""
    return dict(run.ticket.rebuilt(without=run.ticket.tensors.keys() - {name}))[name]


@final
@dataclass(frozen=True)
class FirstLayer:
    """The weights of a network's first units as images, of several input channels the first.

    Attributes:
        name: the tensor.
        units: number of units in the layer, of which at most 24 are images.
        channels: number of input channels.
        draws: number of draws for each weight, of which the first is shown.
        frozen: frozen weights, float32 (images, height, width).
        effective: weights in use, of the same shape.
        mask: True for weights that are kept, of the same shape.
    """

    name: str
    units: int
    channels: int
    draws: int
    frozen: Tensor
    effective: Tensor
    mask: Tensor


def first_layer(run: Run) -> FirstLayer:
    """Return the first layer as images.

    Raises:
        ValueError: its inputs are no images, or its weights are a pretrained model's, which no ticket holds.
    """
    name = next(iter(run.kept), "")
    if not name or (frozen := frozen_of(run, name)) is None:
        raise ValueError(f"{run.folder}: the ticket does not hold the pretrained weights that it was found on")
    codes, shape = run.ticket.codes[name], run.ticket.meta.get("shape")
    several = frozen.ndim > codes.ndim
    weights = (frozen[0] if several else frozen, effective_of(run, name))
    images = [image for each in (*weights, codes != 0) if (image := to_images(each, shape)) is not None]
    if len(images) < 3:
        raise ValueError(f"{run.folder}: {name!r} must have images as inputs, got the shape {tuple(codes.shape)}")
    draws, channels = len(frozen) if several else 1, codes[0].numel() // images[2][0].numel()
    return FirstLayer(name, len(codes), channels, draws, images[0].float(), images[1].float(), images[2])


def signs_of(run: Run, sample: Sample, *, last: bool) -> Tensor | None:
    """Return the signs of a sample's weights, float32 (outputs, inputs).

    None if an edge stands for several weights, or if their signs are unknown.

    Args:
        run: the run.
        sample: the part of a tensor.
        last: True for the signs at the end of the search, False for those of any epoch.
    """
    method = run.ticket.tensors[sample.name].method
    if sample.weights_per_edge > 1 or run.ticket.law is None or method is None:
        return None
    # A mask keeps the signs of frozen weights; other methods' codes, which the trace does not hold, may change them.
    plain = type(method).decode is Method.decode and type(method).frozen is Method.frozen
    if not plain and not last:
        return None
    weight = frozen_of(run, sample.name) if plain else effective_of(run, sample.name)
    assert weight is not None
    return weight.flatten(1)[list(sample.outputs)][:, list(sample.inputs)].sign().float()
