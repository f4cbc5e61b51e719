"""The role of every parameter of a model: a weight matrix, a bias, a norm's scale, or something else.

A parameter of torch's modules has the role that torch gives it. Elsewhere its shape decides: with two or more
axes longer than 1 it is a weight matrix, with fewer a scale or a token, which is no matrix in any shape, such as
(C, 1, 1). Only additive biases are found by name, by the word `bias` in it (`bias`, `q_bias`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from untrained.fields import check_words
from untrained.weights.laws import DTYPES

Owners = dict[str, list[tuple[nn.Module, str]]]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_LAYERS = (nn.Linear, nn.Bilinear, _ConvNd, nn.Embedding, nn.EmbeddingBag)
_SEVERAL_WEIGHTS = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@final
@dataclass(frozen=True)
class Role:
    """The role of one parameter.

    Attributes:
        kind: "weight", "bias" or "norm scale"; "other" for all else.
        padding: the row of an embedding that stands for padding, which is zero and never learns; None: there is none.
        surprise: the reason why it is no weight, where its shape would suggest one.
    """

    kind: Literal["weight", "bias", "norm scale", "other"]
    padding: int | None = None
    surprise: str = ""
    __post_init__ = check_words


def roles(model: nn.Module) -> tuple[Owners, dict[str, nn.Parameter], dict[str, Role]]:
    """Return the owners of each parameter (several where it is tied), the parameters and their roles, by first name.

    Raises:
        ValueError: a parameter has no values that could be drawn anew; the message names it.
    """
    owners: Owners = {}
    first_name: dict[int, str] = {}
    parametrized: dict[nn.Module, tuple[nn.Module, str]] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{path or 'the model'!r} is a {type(module).__name__}, compiled by torch.jit: mask the plain model"
            )
        if is_parametrized(module):
            parametrized |= {originals: (module, leaf) for leaf, originals in module.parametrizations.items()}  # pyright: ignore
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                name = first_name.setdefault(id(parameter), f"{path}.{leaf}".lstrip("."))
                owners.setdefault(name, []).append((module, leaf))
    parameters: dict[str, nn.Parameter] = {name: its[0][0]._parameters[its[0][1]] for name, its in owners.items()}  # pyright: ignore
    for name, parameter in parameters.items():
        if reason := _find_fault(parameter):
            raise ValueError(f"{name!r} {reason}")
    return owners, parameters, {name: _role(owners[name], p, parametrized) for name, p in parameters.items()}


def axes(shape: Sequence[int]) -> int:
    """Count the axes of a tensor that are not of length 1."""
    return sum(side != 1 for side in shape)


def _find_fault(parameter: nn.Parameter) -> str:
    """Return why a parameter cannot belong to a masked model; empty if it can."""
    if nn.parameter.is_lazy(parameter):
        return "has no shape yet: run the lazy module once first"
    if parameter.is_meta:
        return "is on the meta device: give the model memory first, with to_empty()"
    if parameter.is_inference():
        return "was made under torch.inference_mode() and cannot be changed: build the model outside of it"
    if is_traceable_wrapper_subclass(parameter) or parameter.is_quantized or parameter.layout != torch.strided:
        kind = parameter.layout if type(parameter) is nn.Parameter else type(parameter).__name__
        return f"is a tensor of another form ({kind}, {parameter.dtype}): expected a plain strided tensor"
    if parameter.is_floating_point() and parameter.dtype not in DTYPES.values():
        return f"has dtype {str(parameter.dtype).removeprefix('torch.')}, expected one of {', '.join(DTYPES)}"
    return ""


def _role(
    owners: Sequence[tuple[nn.Module, str]], parameter: Tensor, parametrized: Mapping[nn.Module, tuple[nn.Module, str]]
) -> Role:
    """Return the role of a parameter: one that is a weight anywhere is a weight, and its padding row counts."""
    found = [
        _role_of_original(*parametrized[owner], leaf, parameter)
        if owner in parametrized
        else _role_in(owner, leaf, parameter)
        for owner, leaf in owners
    ]
    first = next((role for role in found if role.kind == "weight"), found[0])
    padding = next((role.padding for role in found if role.padding is not None), None)
    return Role(first.kind, padding if first.kind == "weight" else None, first.surprise)


def _role_in(owner: nn.Module, leaf: str, parameter: Tensor) -> Role:
    matrix, words = axes(parameter.shape) >= 2, leaf.split("_")
    if not parameter.is_floating_point():
        indices = parameter.dtype in (torch.int32, torch.int64, torch.bool)
        kind = str(parameter.dtype).removeprefix("torch.")
        return Role("other", surprise=f"it is {kind}" if matrix and not indices else "")
    if isinstance(owner, _NORMS) and leaf in ("weight", "bias"):
        return Role("bias" if leaf == "bias" else "norm scale")
    several, single = isinstance(owner, _SEVERAL_WEIGHTS), isinstance(owner, _LAYERS)
    if parameter.ndim >= 2 and ((single and leaf == "weight") or (several and "weight" in words)):
        return Role("weight", padding=_padding(owner, parameter))
    if "bias" in words or "biases" in words:
        return Role("bias", surprise="by its name it is a bias" if matrix else "")
    if matrix:
        return Role("weight")
    unusual = leaf == "weight" and parameter.ndim == 2 and parameter.numel() > 1
    return Role("other", surprise="by its shape it is a scale" if unusual else "")


def _role_of_original(module: nn.Module, leaf: str, original: str, parameter: Tensor) -> Role:
    """Return the role of a tensor from which a parametrization computes `module.leaf`: a weight, or other."""
    role = _role_in(module, leaf, parameter)
    if original != "original" and axes(parameter.shape) < 2:  # one of several: of a weight norm's g and v it is v
        with torch.no_grad():
            shape = getattr(module, leaf).shape
        originals = module.parametrizations[leaf]._parameters  # pyright: ignore
        like = [name for name, each in originals.items() if each is not None and each.shape == shape]
        if not like or original != like[-1]:
            return Role("other")
    return role if role.kind == "weight" else Role("other")


def _padding(owner: nn.Module, parameter: Tensor) -> int | None:
    row = getattr(owner, "padding_idx", None) if isinstance(owner, nn.Embedding | nn.EmbeddingBag) else None
    return row if isinstance(row, int) and 0 <= row < len(parameter) else None
