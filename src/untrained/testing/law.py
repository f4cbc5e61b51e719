"""Check of the requirements of a WeightLaw, for laws written elsewhere."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from untrained.testing.requirement import require, require_configuration, same_bits
from untrained.weights.laws import WeightLaw, elements_per_block

_SHAPES = (100, 200), (50, 16, 5, 5)


def check_law(law: WeightLaw) -> None:
    """Check that a law of frozen weights meets the requirements of `untrained.WeightLaw`, in about 0.1 seconds.

    The weights are finite float32 numbers, a pure function of seed and name for every thread count. A longer tensor of
    a name begins with the units of a shorter one. The root mean square of the weights is `scale(shape)` times one
    factor, the same for every shape, seed and name to within 10 %.

    Args:
        law: an instance, with any fields.

    Raises:
        AssertionError: a requirement is not met; the message names it.
        TypeError: `law` is no WeightLaw.

    Example:
        >>> ut.testing.check_law(ut.KaimingNormal(fan="out"))
    """
    if not isinstance(law, WeightLaw):
        raise TypeError(f"law must be an instance of a WeightLaw, got {law!r}")
    require_configuration(law, WeightLaw, law)
    for check in (_check_tensors, _check_purity, _check_units, _check_moments):
        check(law)


def _check_tensors(law: WeightLaw) -> None:
    for shape in (*_SHAPES, (1, 1), (0, 3), (3, 0)):
        drawn = _draw(law, shape)
        require(drawn.dtype == torch.float32 and drawn.shape == shape, law, "draws float32 weights of the shape asked")
        require(bool(drawn.isfinite().all()), law, "draws finite weights")
    numbers = (torch.arange(300, dtype=torch.uint8) % 3).view(10, 30)
    each = law.draw_each(numbers, seed=1, name="a.weight")
    draws = torch.stack([law.draw(numbers.shape, seed=1, name="a.weight", number=number) for number in range(3)])
    chosen = draws.gather(0, numbers.long()[None])[0]
    require(same_bits(each, chosen), law, "draws the same in `draw_each` as in `draw`")


def _check_purity(law: WeightLaw) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = _draw(law, _SHAPES[0])
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            again = _draw(dataclasses.replace(law), _SHAPES[0])  # pyright: ignore[reportArgumentType]
            require(same_bits(first, again), law, "draws the same for the same seed and name, with any threads")
    finally:
        torch.set_num_threads(threads)
    require(torch.equal(before, torch.get_rng_state()), law, "leaves torch's global generator alone")
    is_constant = bool((first == first[0, 0]).all())
    others = [_draw(law, _SHAPES[0], seed) for seed in range(2, 10)]
    differ = is_constant or not all(torch.equal(first, other) for other in others)
    require(differ, law, "draws other weights for other seeds, unless all are equal")


def _check_units(law: WeightLaw) -> None:
    units, block = law.units(), elements_per_block(law.units())
    longer, shorter, later = (np.empty(n, np.float32) for n in (2048, 600, 512))
    for out, first in ((longer, 0), (shorter, 0), (later, 1024 // block)):
        units(1, "a.weight", first, out, np.float32(1))
    alike = np.array_equal(longer[:600], shorter) and np.array_equal(longer[1024:1536], later)
    require(alike, law, "has units that depend on their place in the tensor, not on its length")


def _check_moments(law: WeightLaw) -> None:
    factors = []
    for shape in _SHAPES:
        scale = law.scale(shape)
        require(scale == law.scale(list(shape)) and 0 < scale < math.inf, law, "has a positive scale for every shape")
        for seed, name in ((1, "a.weight"), (2**64 - 1, "layer.0.bias/é")):
            factors.append(float(_draw(law, shape, seed, name).square().mean().sqrt()) / scale)
    alike = max(factors) <= 1.1 * min(factors)
    require(alike, law, "has weights whose root mean square is the scale times one factor for all shapes")


def _draw(law: WeightLaw, shape: tuple[int, ...], seed: int = 1, name: str = "a.weight") -> Tensor:
    return law.draw(shape, seed=seed, name=name)
