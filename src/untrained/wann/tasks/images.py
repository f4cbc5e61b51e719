"""Digits and MNIST as tasks, with the inputs of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from untrained.wann.tasks.supervised import Classify

if TYPE_CHECKING:
    from torch import Tensor

    from untrained.data.splits import Split


def digits() -> Classify:
    """Return the task of the 8×8 digits that come with the package: 64 inputs in [0, 1], 10 classes.

    Example:
        >>> task = wann.digits()
        >>> task.inputs, task.outputs, len(task.examples("test")[0])
        (64, 10, 450)
    """
    return _task("digits", None, lambda images: images.float() / 255)


def mnist(data_dir: str | Path | None = None) -> Classify:
    """Return the task of MNIST as the authors have it: made upright and 16×16, 256 inputs in [0, 1], 10 classes.

    Example:
        >>> task = wann.mnist("data")  # doctest: +SKIP
        >>> task.inputs, task.outputs  # doctest: +SKIP
        (256, 10)

    Args:
        data_dir: folder of MNIST, or to download it to.
    """
    return _task("mnist", data_dir, lambda images: _shrink(_make_upright(images.float() / 255), 16))


def _task(name: str, data_dir: str | Path | None, prepare) -> Classify:
    from untrained.data.dataset import load_data

    def part(split: Split) -> tuple[np.ndarray, np.ndarray]:
        import torch

        images = prepare(split.images[torch.arange(len(split))])
        return images.flatten(1).numpy().astype(np.float64), split.labels.numpy()

    data = load_data(name, data_dir)
    x, y = part(data.train)
    return Classify(
        x, y, labels=data.labels, validation=part(data.val), test=part(data.test), value_range=(0.0, 1.0), name=name
    )


def _make_upright(images: Tensor) -> Tensor:
    """Shear each image about its centre so that horizontal and vertical places of its pixels are uncorrelated."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    places = torch.linspace(-1, 1, images.shape[-1])
    mass = images[:, 0] / images.sum((1, 2, 3))[:, None, None].clamp_min(1e-12)
    x = (mass.sum(1) * places).sum(1)
    y = (mass.sum(2) * places).sum(1)
    from_x, from_y = places[None, None, :] - x[:, None, None], places[None, :, None] - y[:, None, None]
    slant = (mass * from_x * from_y).sum((1, 2)) / (mass * from_y**2).sum((1, 2)).clamp_min(1e-12)
    zero, one = torch.zeros_like(slant), torch.ones_like(slant)
    shear = torch.stack([torch.stack([one, slant, x], 1), torch.stack([zero, one, y], 1)], 1)
    return grid_sample(images, affine_grid(shear, list(images.shape), align_corners=True), align_corners=True)


def _shrink(images: Tensor, side: int) -> Tensor:
    from torch.nn.functional import interpolate

    return interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
