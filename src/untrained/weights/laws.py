"""Laws of frozen weights: a pure function of (seed, tensor name, shape, law), the same bits everywhere and for ever.

weight = unit · float32(scale), one float32 multiplication. The units come from the seed and the name (`random.py`), the
scale from the shape and the law, in float64 arithmetic.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from untrained.fields import check_fields, plain
from untrained.weights.random import Units, normals, normals_at, ones, signs, signs_at, uniforms, uniforms_at

DTYPES = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
"""The dtypes that a masked model and its ticket may have, by name."""

# Sixteen thousand blocks keep every temporary of a chunk inside a core's cache.
_CHUNK_BLOCKS = 1 << 14
_ONE_BY_ONE: dict[Units, Callable[..., np.ndarray]] = {signs: signs_at, uniforms: uniforms_at, normals: normals_at}


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return (fan in, fan out) of a weight as torch.nn.init counts: axis 1 and axis 0 times the receptive field."""
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a weight of two or more dimensions, got shape {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


Nonlinearity = Literal["relu", "leaky_relu", "linear", "sigmoid", "tanh", "selu", "elu"]

GAINS: dict[Nonlinearity, float] = {
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2.0 / (1.0 + 0.01**2)),
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "selu": 0.75,
    "elu": math.sqrt(3.0),
}
"""Factors on the weights' standard deviation that nonlinearities ask for, as torch.nn.init."""


def elements_per_block(units: Units) -> int:
    """Return the number of elements of a block of the stream: one bit each for signs, else one word each."""
    return 128 if units is signs else 4


def chunks(n: int, per_block: int) -> Iterator[tuple[int, slice]]:
    """Yield n elements in pieces that fit a core's cache: (first block, slice of elements)."""
    for start in range(0, n, _CHUNK_BLOCKS * per_block):
        yield start // per_block, slice(start, min(n, start + _CHUNK_BLOCKS * per_block))


def check_seed(seed: int) -> int:
    """Return the seed as a Python integer, also one of numpy's.

    Raises:
        ValueError: it is not an integer in [0, 2⁶⁴).
    """
    whole = plain(seed)
    if type(whole) is not int or not 0 <= whole < 1 << 64:
        raise ValueError(f"seed must be an integer in [0, 2**64), got {seed!r}")
    return whole


class WeightLaw(abc.ABC):
    """Distribution of frozen weights: units drawn from the seed, times one scale that the shape gives.

    A final law is a frozen dataclass with JSON-able fields, and is written into the ticket.

    Example:
        >>> ut.SignedConstant(fan="out").draw((2, 8), seed=0, name="fc.weight").abs().unique()
        tensor([1.])
    """

    scaled: bool
    """Multiply the scale by √(1/keep), so that the kept weights alone have the variance of the law."""

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def units(self) -> Units:
        """Return the draw of units: `signs`, `ones`, `uniforms` or `normals`."""

    @abc.abstractmethod
    def scale(self, shape: Sequence[int]) -> float:
        """Return the factor on units in a tensor of this shape, before `scaled`."""

    @final
    def draw(self, shape: Sequence[int], *, seed: int, name: str, keep: float = 1.0, number: int = 0) -> Tensor:
        """Draw the weights of one tensor: unit · float32(scale · √(1/keep) if `scaled` else scale).

        Args:
            shape: shape of the tensor, two or more dimensions.
            seed: 0 ≤ seed < 2⁶⁴.
            name: the tensor's name in its model; another name gives other weights.
            keep: fraction of the weights that will be kept, in (0, 1]; used only by `scaled` laws.
            number: number of the draw, for methods that choose among several: draw d starts at block d·2³².

        Returns:
            float32 tensor of `shape` on the CPU, C order.

        Raises:
            ValueError: the seed is out of range, or the shape has fewer than two dimensions.

        Source: Ramanujan et al. 2019, sections 3 and 4.5 (signed constant, scaled by √(1/k)).
        """
        seed = check_seed(seed)
        units, scale = self.units(), self.magnitude(shape, keep)
        weights = np.empty(math.prod(shape), np.float32)
        for block, part in chunks(len(weights), elements_per_block(units)):
            units(seed, name, (number << 32) + block, weights[part], scale)
        return torch.from_numpy(weights).reshape(tuple(shape))

    @final
    def draw_each(self, numbers: Tensor, *, seed: int, name: str, keep: float = 1.0) -> Tensor:
        """Draw each weight of a tensor from a given draw: element i is that of `draw(number=numbers[i])`.

        A draw of which a chunk needs few elements is made for those alone.

        Args:
            numbers: uint8 tensor of the weights' shape, on the CPU: the draw of each element.
            seed, name, keep: those of `draw`.
        """
        check_seed(seed)
        units, scale = self.units(), self.magnitude(numbers.shape, keep)
        flat, weights = numbers.contiguous().numpy().reshape(-1), np.empty(numbers.numel(), np.float32)
        per_block, one_by_one = elements_per_block(units), _ONE_BY_ONE.get(units)
        for block, part in chunks(len(weights), per_block):
            here, out = flat[part], weights[part]
            counts = np.bincount(here, minlength=256)
            few = counts * per_block < (len(here) if one_by_one else 0)
            for number in np.flatnonzero(counts.astype(np.bool_) & ~few).tolist():
                drawn = np.empty(len(here), np.float32)
                units(seed, name, (number << 32) + block, drawn, scale)
                np.copyto(out, drawn, where=here == number)
            if one_by_one and len(places := np.flatnonzero(few[here])):
                first = (here[places].astype(np.uint64) << np.uint64(32)) + np.uint64(block)
                out[places] = one_by_one(seed, name, first, places, scale)
        return torch.from_numpy(weights).reshape(numbers.shape)

    @final
    def magnitude(self, shape: Sequence[int], keep: float) -> np.float32:
        """Return the factor on the units of a tensor of this shape; see `draw`."""
        fans(shape)
        with np.errstate(over="ignore"):  # a hostile ticket may keep 1e-300
            rescale = math.sqrt(1.0 / keep if self.scaled else 1.0)
            return np.float32(self.scale(shape) * rescale if math.prod(shape) else 0)


@dataclass(frozen=True)
class _Kaiming(WeightLaw):
    """Laws of standard deviation gain/√fan."""

    fan: Literal["in", "out"] = "in"
    nonlinearity: Nonlinearity = "relu"
    scaled: bool = False

    def scale(self, shape: Sequence[int]) -> float:
        return GAINS[self.nonlinearity] / math.sqrt(fans(shape)[0 if self.fan == "in" else 1])


@final
@dataclass(frozen=True)
class SignedConstant(_Kaiming):
    """Signed constant ±σ with σ = gain/√fan, one random bit a weight: the paper's best law, and the default.

    Example:
        >>> ut.SignedConstant().draw((1, 8), seed=0, name="fc.weight").abs().unique()
        tensor([0.5000])
    """

    def units(self) -> Units:
        return signs


@final
@dataclass(frozen=True)
class UnsignedConstant(_Kaiming):
    """Constant σ = gain/√fan: no random bit.

    Example:
        >>> ut.UnsignedConstant().draw((1, 2), seed=0, name="fc.weight")
        tensor([[1., 1.]])
    """

    def units(self) -> Units:
        return ones


@final
@dataclass(frozen=True)
class KaimingNormal(_Kaiming):
    """Kaiming-normal law N(0, gain²/fan).

    Example:
        >>> ut.KaimingNormal().scale((1, 8))
        0.5
    """

    def units(self) -> Units:
        return normals


@final
@dataclass(frozen=True)
class KaimingUniform(_Kaiming):
    """Kaiming-uniform law U(-b, b) with b = √3 · gain/√fan.

    Example:
        >>> ut.KaimingUniform().draw((1, 24), seed=0, name="fc.weight").abs().max() <= 0.5
        tensor(True)
    """

    def units(self) -> Units:
        return uniforms

    def scale(self, shape: Sequence[int]) -> float:
        return math.sqrt(3.0) * super().scale(shape)


@dataclass(frozen=True)
class _Xavier(WeightLaw):
    """Laws of standard deviation gain · √(2/(fan in + fan out)), the gain being 1 by default."""

    nonlinearity: Nonlinearity = "linear"
    scaled: bool = False

    def scale(self, shape: Sequence[int]) -> float:
        return GAINS[self.nonlinearity] * math.sqrt(2.0 / sum(fans(shape)))


@final
@dataclass(frozen=True)
class XavierNormal(_Xavier):
    """Xavier-normal law N(0, gain² · 2/(fan in + fan out)).

    Example:
        >>> ut.XavierNormal().scale((4, 4))
        0.5
    """

    def units(self) -> Units:
        return normals


@final
@dataclass(frozen=True)
class XavierUniform(_Xavier):
    """Xavier-uniform law U(-b, b) with b = gain · √(6/(fan in + fan out)).

    Example:
        >>> ut.XavierUniform().draw((12, 12), seed=0, name="fc.weight").abs().max() <= 0.5
        tensor(True)
    """

    def units(self) -> Units:
        return uniforms

    def scale(self, shape: Sequence[int]) -> float:
        return math.sqrt(3.0) * super().scale(shape)


@final
@dataclass(frozen=True)
class XavierConstant(_Xavier):
    """Signed constant ±σ with σ = gain · √(2/(fan in + fan out)).

    Example:
        >>> ut.XavierConstant().draw((4, 4), seed=0, name="fc.weight").abs().unique()
        tensor([0.5000])
    """

    def units(self) -> Units:
        return signs


@final
@dataclass(frozen=True)
class Standard(WeightLaw):
    """Uniform law U(-b, b) with b = 1/√(fan in): the initial weights of torch's Linear and Conv layers.

    Example:
        >>> ut.Standard().scale((1, 4))
        0.5
    """

    scaled: bool = False

    def units(self) -> Units:
        return uniforms

    def scale(self, shape: Sequence[int]) -> float:
        return 1.0 / math.sqrt(fans(shape)[0])


@final
@dataclass(frozen=True)
class Prototype(_Kaiming):
    """Short prototype of ±1, repeated over every tensor, times σ = gain/√fan.

    Element i is σ · unit_{i mod length}, the units being the signs of the tensor named `prototype`: all tensors of a
    network repeat the same one, each with another σ.

    Args:
        length: number of values of the prototype, from 1 to 2³¹.

    Source: Bai et al. 2022, "Parameter-Efficient Masking Networks", arXiv 2210.06699, section 3 (max-layer padding).

    Example:
        >>> drawn = ut.Prototype(length=2).draw((1, 6), seed=0, name="fc.weight")
        >>> torch.equal(drawn[:, :2].repeat(1, 3), drawn)
        True
    """

    length: int = 1024

    _limits: ClassVar = {"length": (1, 1 << 31)}

    def units(self) -> Units:
        return self._tile

    def _tile(self, seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32) -> None:
        draw, start = first_block >> 32 << 32, (first_block & 0xFFFFFFFF) * 4 % self.length
        # Of a long prototype only the elements needed here are drawn: to its end, and from its beginning.
        head = min(len(out), self.length - start)
        aligned = start // 128
        drawn = np.empty(start % 128 + head, np.float32)
        signs(seed, "prototype", draw + aligned, drawn, scale)
        out[:head] = drawn[start % 128 :]
        if head < len(out):
            prototype = np.empty(min(self.length, len(out) - head), np.float32)
            signs(seed, "prototype", draw, prototype, scale)
            out[head:] = np.resize(prototype, len(out) - head)
