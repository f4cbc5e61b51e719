"""Run a found network at two bits a weight or less: Linear and Conv layers whose weights are all -σ, 0 or +σ.

`pack_` reads the values of a model's weights, not the codes of a ticket: it finds {-σ, 0, +σ} in any plain model.

benchmarks/infer.py times both ways to run a Linear beside torch (docs/speed.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, jit, nn

from untrained.masking.bake import bake_, baked
from untrained.masking.mask import is_masked
from untrained.masking.state import MaskState
from untrained.packed import kernels, trits

Model = TypeVar("Model", bound=nn.Module)
_CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
_EXACT = torch.float32, torch.bfloat16, torch.float16


@dataclass(frozen=True)
class Layer:
    """Name of a weight, description of how it runs, and the bytes that it takes in memory now.

    Example:
        >>> model = ut.mask_(nn.Sequential(nn.Linear(64, 64)), ut.EdgePopup(keep=0.5), seed=0)
        >>> [layer.name for layer in ut.packed.layers(ut.pack_(model))]
        ['0.weight']
    """

    name: str
    how: str
    bytes: int


def pack_(model: Model, *, dtype: torch.dtype = torch.float32) -> Model:
    """Keep every Linear and Conv weight of {-σ, 0, +σ} as two bits or less, and run from them; in place.

    y = σ · (x tᵀ) + b with t of {-1, 0, 1}. A Linear runs from its codes by kernels in C++: sums in float32, right to
    1e-6 of the largest output. Convolutions, batches that torch is faster at, and everything where there is no
    compiler run through torch from weights that are expanded once and kept, beside the codes, in `dtype`. Inputs with
    NaN, infinities or sums beyond float32, and inputs that need a gradient, go through torch, too: there a layer gives
    the same output and input gradient as the dense one. Biases stay, frozen. `untrained.packed.layers` gives
    the reason for each weight that is not packed.

    Args:
        model: a masked model, which is baked first, or any plain one, such as `untrained.load` gives.
        dtype: of the expanded weights, float32 or bfloat16; bfloat16 multiplies by t, which it holds exactly, and
            rounds the inputs.

    Returns:
        The model itself.

    Raises:
        ValueError: another dtype, a model masked in parts only, or no weight to pack; the model is unchanged
            then.

    Example:
        >>> model = ut.mask_(nn.Sequential(nn.Linear(64, 64)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.pack_(model)(torch.ones(2, 64)).shape
        torch.Size([2, 64])
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    if is_masked(model):
        with baked(model) as plain:
            packed = _pack_weights(plain)
        bake_(model)
    elif any(isinstance(module, MaskState) for module in model.modules()):
        raise ValueError("a part of this model is masked: bake_ that part, or pass the module that was masked")
    else:
        packed = _pack_weights(model)
    modules = dict(model.named_modules())
    for name, codes in packed.items():
        _convert_(modules[name], codes, dtype)
    return model


def layers(model: nn.Module) -> list[Layer]:
    """Return how each weight of two or more dimensions runs, packed or not; expanded weights count once made.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        >>> ut.packed.layers(model)[0].how
        'left alone: weights take 64 values'
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, Packed):
            tensors = [tensor for tensor in (module.codes, module.starts) if tensor is not None]
            size = sum(tensor.nbytes for tensor in tensors) + kernels.count_kept_bytes(module.codes)
            found.append(Layer(_join(name, "weight"), module.how(), size))
    for name, uses in _find_weights(model).items():
        weight = uses[0].parameter
        found.append(Layer(name, f"left alone: {_find_obstacle(uses) or _describe_values(weight)}", weight.nbytes))
    return found


class Packed(nn.Module, ABC):
    """Base of packed layers: codes of the weight, its scale σ, and how they are moved and loaded.

    Example:
        >>> model = ut.mask_(ut.models.fc((32,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> sum(isinstance(module, ut.packed.Packed) for module in ut.pack_(model).modules())
        2
    """

    codes: Tensor
    starts: Tensor | None
    scale: Tensor
    bias: nn.Parameter | None
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __init__(self) -> None:
        raise TypeError(f"a {type(self).__name__} is made by pack_, from a layer of torch's")

    @abstractmethod
    def how(self) -> str:
        """Return a description of how the layer runs."""

    @property
    def weight(self) -> Tensor:
        """The weight σ · t in float32, expanded once and kept; for reading only."""
        return kernels.expand(self.codes, self.starts, self.scale, self.shape, torch.float32)

    def extra_repr(self) -> str:
        return f"{self.shape}, {self.how()}, bias={self.bias is not None}"

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        scale = self.scale
        super()._apply(fn, recurse)
        if self.scale.dtype != scale.dtype:  # half() and the like change expanded weights only: σ keeps its dtype
            self.scale = scale.to(self.scale.device)
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        given = {name: state_dict[prefix + name] for name in ("codes", "starts") if prefix + name in state_dict}
        if "codes" in given:
            try:  # before loading: kernels do not check it
                codes, starts = self._read(given["codes"], given.get("starts"))
            except ValueError as error:
                raise ValueError(f"{prefix}codes: {error}") from None
            # Another machine, or other weights, may have given lists for words, and other numbers of them.
            self.codes = torch.empty_like(codes, device=self.codes.device)
            self.starts = None if starts is None else torch.empty_like(starts, device=self.codes.device)
            state_dict = {
                **state_dict,
                prefix + "codes": codes,
                **({} if starts is None else {prefix + "starts": starts}),
            }
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.codes, self.starts = self._read(self.codes, self.starts)

    def _read(self, codes: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not (isinstance(self, PackedLinear) or starts is None):
            raise ValueError("a convolution has no lists")
        return trits.read(codes, starts, self.shape[0], torch.Size(self.shape[1:]).numel())


@final
class PackedLinear(Packed):
    """Linear layer that runs from the codes of its weight (outputs, inputs).

    Example:
        >>> model = ut.mask_(nn.Sequential(nn.Linear(64, 32)), ut.EdgePopup(keep=0.5), seed=0)
        >>> type(ut.pack_(model)[0]).__name__
        'PackedLinear'
    """

    def how(self) -> str:
        if kernels.current().library is None:
            return _describe_dense(self.dtype)
        return "lookup" if self.starts is None else "indices"

    def forward(self, x: Tensor) -> Tensor:
        run = kernels.linear if _runs_directly(x) else torch.ops.untrained.packed_linear.default
        rows, columns = self.shape
        own: Any = self._buffers  # a microsecond sooner than self.codes
        return run(x, own["codes"], own["starts"], own["scale"], self._parameters["bias"], rows, columns, self.dtype)


@final
class PackedConv(Packed):
    """Conv1d, Conv2d or Conv3d that keeps codes of its weight and computes through torch, in 2d channels last.

    Example:
        >>> model = ut.mask_(nn.Sequential(nn.Conv2d(3, 16, 3)), ut.EdgePopup(keep=0.5), seed=0)
        >>> type(ut.pack_(model)[0]).__name__
        'PackedConv'
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    _reversed_padding_repeated_twice: list[int]

    def how(self) -> str:
        return _describe_dense(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode), (0,) * len(self.stride)
        run = kernels.convolution if _runs_directly(x) else torch.ops.untrained.packed_convolution.default
        geometry = self.stride, padding, self.dilation, self.groups
        return run(x, self.codes, self.scale, self.bias, self.shape, *geometry, self.dtype)


def _runs_directly(x: Tensor) -> bool:
    """Return False for compilers and tracers, which need an operator of torch."""
    traced = torch.compiler.is_compiling() or jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return type(x) is Tensor and not traced


def _describe_dense(dtype: torch.dtype) -> str:
    return f"dense {str(dtype).removeprefix('torch.')}"


class _Codes(NamedTuple):
    """A weight of {-σ, 0, +σ}; with `starts` the codes are steps of lists, else words."""

    codes: Tensor
    starts: Tensor | None
    scale: Tensor


class _Use(NamedTuple):
    """A parameter where it is used."""

    path: str
    module: nn.Module
    leaf: str
    parameter: Any


def _find_weights(model: nn.Module) -> dict[str, list[_Use]]:
    """Return the uses of every parameter of two or more dimensions, by its first name; several where it is tied."""
    uses: dict[int, list[_Use]] = {}
    for path, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None and (nn.parameter.is_lazy(parameter) or parameter.ndim >= 2):
                uses.setdefault(id(parameter), []).append(_Use(path, module, leaf, parameter))
    return {_join(each[0].path, each[0].leaf): each for each in uses.values()}


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}".lstrip(".")


def _pack_weights(model: nn.Module) -> dict[str, _Codes]:
    """Return the codes of all weights that can be packed, by the path of their module."""
    packed, left = {}, []
    for name, uses in _find_weights(model).items():
        reason = _find_obstacle(uses)
        codes = None if reason else _pack(uses[0].parameter, isinstance(uses[0].module, nn.Linear))
        if codes is None:
            left.append(f"{name}: {reason or _describe_values(uses[0].parameter)}")
        else:
            packed[uses[0].path] = codes
    if not packed:
        more = f"; and {len(left) - 4} more" if len(left) > 4 else ""
        raise ValueError(f"nothing to pack: {'; '.join(left[:4]) or 'the model has no weights left to pack'}{more}")
    return packed


def _find_obstacle(uses: list[_Use]) -> str | None:
    """Return the reason why a parameter cannot be packed for any values; None: there is none."""
    _, module, leaf, parameter = uses[0]
    if len(uses) > 1:
        return f"tied with {_join(uses[1].path, uses[1].leaf)!r}"
    if type(module) not in (nn.Linear, *_CONVOLUTIONS) or leaf != "weight":
        return f"{leaf} of {type(module).__name__}"
    if nn.parameter.is_lazy(parameter) or parameter.is_meta:
        return "it has no values yet"
    if parameter.dtype not in _EXACT:
        return f"{parameter.dtype} may hold a σ that float32 does not"
    return None if parameter.numel() else "it is empty"


@torch.no_grad()
def _pack(weight: Tensor, may_be_sparse: bool) -> _Codes | None:
    """Return the codes of a weight; None: its values are not -σ, 0 and +σ."""
    scale, signs = weight.abs().max(), weight.sign()
    if not scale.isfinite() or not torch.equal(signs * scale, weight):
        return None
    matrix = signs.to("cpu", torch.int8).flatten(1)
    scale = scale.to(torch.float32, copy=True)
    most = kernels.LISTS_UP_TO[kernels.current().level or "portable"] * matrix.numel()
    if may_be_sparse and matrix.count_nonzero() <= most:
        steps, starts = trits.pack_lists(matrix)
        return _Codes(steps.to(weight.device), starts.to(weight.device), scale)
    return _Codes(trits.pack_words(matrix).to(weight.device), None, scale)


def _describe_values(weight: Tensor) -> str:
    count = len(weight.detach().unique())
    return f"weights take {count:,} values" + (", not -σ, 0 and +σ" if count <= 3 else "")


def _convert_(layer: nn.Module, weight: _Codes, dtype: torch.dtype) -> None:
    """Convert a layer of torch to a packed one in place, as other modules may refer to it."""
    shape = tuple(layer.weight.shape)  # pyright: ignore
    del layer.weight
    layer.__class__ = PackedLinear if isinstance(layer, nn.Linear) else PackedConv  # pyright: ignore
    layer.shape, layer.dtype = shape, dtype  # pyright: ignore
    for name, tensor in weight._asdict().items():
        layer.register_buffer(name, tensor)
    layer.requires_grad_(False)
