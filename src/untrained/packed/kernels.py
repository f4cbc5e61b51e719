"""Packed layers by kernels, or by torch from weights that are expanded once; also as operators of torch.

A weight is (codes, starts, scale): words and no starts, or steps and the starts of their lists. Its values are
scale · t.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from untrained.native.library import Status, load, status
from untrained.packed import trits

_ANY = 1 << 62
LOOKUP_UP_TO = {
    torch.float32: {"avx512": _ANY, "avx2": 32, "portable": 2},
    torch.bfloat16: {"avx512": 32, "avx2": 8, "portable": 2},
}
"""The largest batch that is looked up, by the dtype in which larger ones run and by the level of the kernels."""
LISTS_UP_TO = {"avx512": 0.06, "avx2": 0.14, "portable": 0.2}
"""The largest share of weights kept that runs from lists, by the level of the kernels: there they are quicker than
the lookup at batch 1, and never larger."""
_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_HALVES = torch.bfloat16, torch.float16
_CPU = torch.device("cpu")

# Expanded weights by their codes, each with the versions of codes and scale that it was made from.
_kept: Any = WeakIdKeyDictionary()
# Codes that were checked, or packed anew, by those that a saved program has.
_read: Any = WeakIdKeyDictionary()
_held: ContextVar[Status | None] = ContextVar("_held", default=None)


def current() -> Status:
    """Return the kernels of packed layers: those of this process, unless `held_to` names others."""
    return _held.get() or status()


@contextmanager
def held_to(level: str) -> Iterator[None]:
    """Pack for, and run by, the kernels of one level of this machine within the context.

    Raises:
        NoCompiler: they cannot be compiled.
    """
    before = _held.set(_load(level))
    try:
        yield
    finally:
        _held.reset(before)


def linear(
    x: Tensor,
    codes: Tensor,
    starts: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    rows: int,
    columns: int,
    dtype: torch.dtype,
) -> Tensor:
    """Return scale · x tᵀ + bias, (…, rows) for x (…, columns), in the dtype of x.

    Args:
        x: the inputs; halves are computed in float32; float64, and inputs with a gradient, by torch.
        codes, starts, scale: the weight (rows, columns).
        bias: (rows), or None.
        dtype: float32 or bfloat16, in which torch computes where there is no kernel or torch is faster.

    Raises:
        ValueError: x has not so many columns, or no floating dtype.
    """
    _check(x, x.dim() > 0 and x.shape[-1] == columns, f"(…, {columns})")
    if x.dtype is torch.float32 and x.is_cpu and codes.is_cpu:
        kernels, level, _ = current()
        learns = torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad))
        few = starts is not None or x.numel() // columns <= LOOKUP_UP_TO[dtype][level or "portable"]
        if kernels is not None and few and not learns:
            bias32 = bias if bias is None or bias.dtype is torch.float32 else bias.float()
            y = product(kernels, codes, starts, scale, bias32, x.contiguous(), rows, columns)
            if y is not None:
                return y
            dtype = torch.float32  # in which torch gives the same result as the dense layer
    if x.dtype in _HALVES:
        return linear(x.float(), codes, starts, scale, bias, rows, columns, dtype).to(x.dtype)
    return _run_in_torch(F.linear, x, (codes, starts, scale, (rows, columns)), bias, dtype)


def convolution(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    shape: Sequence[int],
    *rest: Any,
) -> Tensor:
    """Return the convolution of x with scale · t (outputs, inputs / groups, …), through torch.

    Args:
        x: (batch, channels, …) or (channels, …); in 2d channels come last in memory.
        codes, scale, shape: the weight and its shape.
        bias: as in `linear`.
        rest: stride, padding, dilation and groups, then a dtype as in `linear`.

    Raises:
        ValueError: x has not so many channels or dimensions, or no floating dtype.
    """
    *geometry, dtype = rest
    channels, dims = geometry[-1] * shape[1], len(shape) - 2
    right = x.dim() in (dims + 1, dims + 2) and x.shape[-dims - 1] == channels
    _check(x, right, f"(batch, {channels}{', …' * dims})")
    if x.dtype in _HALVES:
        return convolution(x.float(), codes, scale, bias, shape, *rest).to(x.dtype)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _CONVOLUTIONS[len(shape)](_order(x), weight, bias, *geometry)

    return _order(_run_in_torch(run, x, (codes, None, scale, tuple(shape)), bias, dtype, (-1, *[1] * dims)))


@functools.cache
def _load(level: str) -> Status:
    return Status(load(level), level, "")


def expand(codes: Tensor, starts: Tensor | None, scale: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the weight, made once and kept as long as its codes: scale · t, but in bfloat16 t itself."""
    versions = _get_version(codes), _get_version(scale)
    kept = _kept.setdefault(codes, {})
    made, weight = kept.get(dtype, (None, None))
    if weight is None or made != versions:
        with torch.inference_mode(False), torch.no_grad():
            columns = torch.Size(shape[1:]).numel()
            if starts is None:
                matrix = trits.unpack_words(codes.cpu(), shape[0], columns)
            else:
                matrix = trits.unpack_lists(codes.cpu(), starts.cpu(), shape[0], columns)
            matrix = matrix.to(codes.device, dtype).reshape(*shape)
            weight = _order(matrix if dtype is torch.bfloat16 else matrix.mul_(scale.to(dtype)))
        kept[dtype] = versions, weight
    return weight


def count_kept_bytes(codes: Tensor) -> int:
    """Count the bytes of the expanded weights that are kept for these codes."""
    return sum(weight.nbytes for _, weight in _kept.get(codes, {}).values())


def product(
    kernels: ctypes.CDLL,
    codes: Tensor,
    starts: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    x: Tensor,
    rows: int,
    columns: int,
) -> Tensor | None:
    """Return scale · x tᵀ + bias (…, rows) for x (…, columns); everything float32 in C order on the CPU.

    None: x holds NaN, infinities, or numbers so large that sums of them are too large before they are scaled.
    """
    shape = x.shape  # read once: each call of torch costs a tenth of a microsecond
    size = (shape[0], rows) if len(shape) == 2 else (*shape[:-1], rows)
    out = torch.empty(size, dtype=torch.float32, device=_CPU)
    bias_at = None if bias is None else bias.data_ptr()
    rest = scale.data_ptr(), bias_at, x.data_ptr(), out.data_ptr(), rows, columns, x.numel() // columns
    lookup, indices = _load_functions(kernels)
    if starts is None:
        done = lookup(codes.data_ptr(), *rest)
    else:
        done = indices(codes.data_ptr(), starts.data_ptr(), *rest, codes.dtype is torch.int16)
    return out if done else None


@functools.cache
def _load_functions(kernels: ctypes.CDLL) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return (packed_lookup, packed_indices) with their types: ctypes then converts without intermediate objects."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    lookup, indices = kernels.packed_lookup, kernels.packed_indices
    lookup.argtypes = [pointer] * 5 + [integer] * 3
    indices.argtypes = [pointer] * 6 + [integer] * 3 + [ctypes.c_int32]
    lookup.restype = indices.restype = ctypes.c_int32
    return lookup, indices


def _run_in_torch(
    run: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    x: Tensor,
    weight: tuple[Tensor, Tensor | None, Tensor, tuple[int, ...]],
    bias: Tensor | None,
    dtype: torch.dtype,
    channels: Sequence[int] = (-1,),
) -> Tensor:
    """Return run(x, weight, bias) in float64 for such an x, else in dtype; autocast has no effect."""
    codes, starts, scale, shape = weight
    bias = None if bias is None else bias.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        if dtype is torch.bfloat16 and x.dtype is torch.float32:
            y = run(x.bfloat16(), expand(codes, starts, scale, shape, dtype), None).float() * scale
            return y if bias is None else y + bias.reshape(channels)
        return run(x, expand(codes, starts, scale, shape, x.dtype), bias)


def _check(x: Tensor, fits: bool, expected: str) -> None:
    if not fits:
        raise ValueError(f"the input of a packed layer must be {expected}, got {tuple(x.shape)}")
    if x.dtype not in (torch.float32, torch.float64, *_HALVES):
        raise ValueError(f"the input of a packed layer must be of a floating dtype, got {x.dtype}")


def _order(tensor: Tensor) -> Tensor:
    """Return the tensor in the order in which torch's convolutions are fastest."""
    return tensor.contiguous(memory_format=torch.channels_last if tensor.dim() == 4 else torch.contiguous_format)


def _get_version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _read_codes(codes: Tensor, starts: Tensor | None, rows: int, columns: int) -> tuple[Tensor, Tensor | None]:
    """Return codes of a saved program as `trits.read` does, once for each version of them."""
    now = _get_version(codes), rows, columns
    read_at, new = _read.get(codes, (None, None))
    if read_at != now:
        read = trits.read(codes, starts, rows, columns)
        new = None if read[0] is codes else read  # a reference to its own key would keep it for ever
        _read[codes] = now, new
    return new or (codes, starts)


def _run_linear(
    x: Tensor, codes: Tensor, starts: Tensor | None, scale: Tensor, bias: Tensor | None, rows: int, *rest: Any
) -> Tensor:
    codes, starts = _read_codes(codes, starts, rows, rest[0])
    return linear(x, codes, starts, scale, bias, rows, *rest)


def _run_convolution(
    x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, shape: Sequence[int], *rest: Any
) -> Tensor:
    codes, _ = _read_codes(codes, None, shape[0], torch.Size(shape[1:]).numel())
    return convolution(x, codes, scale, bias, shape, *rest)


def _fake_linear(
    x: Tensor, codes: Tensor, starts: Tensor, scale: Tensor, bias: Tensor, rows: int, columns: int, dtype: torch.dtype
) -> Tensor:
    _check(x, x.dim() > 0 and x.shape[-1] == columns, f"(…, {columns})")
    return x.new_empty((*x.shape[:-1], rows))


def _fake_convolution(
    x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor, shape: Sequence[int], *rest: Any
) -> Tensor:
    return _order(_CONVOLUTIONS[len(shape)](x, x.new_empty(shape), None, *rest[:-1]))


def _refuse_gradient(*_: Any) -> None:
    raise RuntimeError(
        "a packed layer has no gradient where it is compiled, exported or traced: take it of the model as it is, or of "
        "the baked one"
    )


def _define_operator(name: str, run: Callable[..., Tensor], fake: Callable[..., Tensor], arguments: str) -> None:
    name = f"untrained::packed_{name}"
    torch.library.define(name, f"(Tensor x, Tensor codes, {arguments}) -> Tensor")
    torch.library.impl(name, "default", run)
    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, _refuse_gradient)


_WEIGHT = "Tensor scale, Tensor? bias"
_GEOMETRY = "int[] shape, int[] stride, int[] padding, int[] dilation, int groups"
_define_operator(
    "linear", _run_linear, _fake_linear, f"Tensor? starts, {_WEIGHT}, int rows, int columns, ScalarType dtype"
)
_define_operator("convolution", _run_convolution, _fake_convolution, f"{_WEIGHT}, {_GEOMETRY}, ScalarType dtype")
