"""Checks of a model's contents: that a ticket can store them, and can fill them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, final

import safetensors.torch
import torch
from torch import Tensor, nn

from untrained.masking.masked_class import MaskState, base_and_leaves, other_buffers, tensors_of
from untrained.masking.memory import refuse_shared
from untrained.tickets.header import TensorEntry, TicketError, dtype_name


def refuse_other_state(model: nn.Module) -> None:
    """Refuse a model whose state_dict holds more than parameters and buffers, which a ticket would lose.

    Raises:
        ValueError: there is such state; the message names the module and the state.
    """
    for path, module in model.named_modules():
        if isinstance(module, MaskState):
            continue
        own: dict[str, Any] = {}
        module._save_to_state_dict(own, "", True)  # without hooks, which may give tensors other names
        for key in sorted(own.keys() - module._parameters.keys() - module._buffers.keys()):
            if not _is_empty(own[key]):
                what = "extra state (get_extra_state)" if key == "_extra_state" else f"{key!r}"
                where = f"module {path!r}" if path else "the model"
                raise ValueError(
                    f"the state_dict of {where} ({base_and_leaves(module)[0].__name__}) holds {what}, which a ticket "
                    "would lose: make it a buffer (register_buffer), or leave it out"
                )


def refuse_unstorable(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that a ticket cannot store whole.

    Raises:
        ValueError: one is not dense, has no memory, or is of a dtype that safetensors files do not have.
    """
    for name, tensor in tensors.items():
        why = _find_obstacle(tensor) or ("" if _storable(tensor.dtype) else f"is {dtype_name(tensor.dtype)}")
        if why:
            raise ValueError(
                f"{name!r} {why}, which a ticket cannot store: keep it as dense buffers of usual numbers, or as one "
                "that is not saved (persistent=False)"
            )


def check_fit(wanted: Mapping[str, TensorEntry | Tensor], held: Mapping[str, Tensor], *, alone: bool = True) -> None:
    """Check that the tensors of a model are those of a ticket, and with `alone` no others.

    Raises:
        TicketError: one is missing, unknown, of another shape or dtype, or cannot be filled.
    """
    for name, entry in wanted.items():
        shape, dtype = tuple(entry.shape), entry.dtype
        if name not in held:
            raise TicketError(f"{name!r} is in the ticket and not in the model")
        if why := _find_obstacle(held[name]):
            raise TicketError(f"{name!r} {why}")
        if (other := tuple(held[name].shape)) != shape:
            raise TicketError(f"{name!r} has shape {shape} in the ticket and {other} in the model")
        if held[name].dtype != dtype:
            raise TicketError(
                f"{name!r} is {dtype_name(dtype)} in the ticket and {dtype_name(held[name].dtype)} in the model; load "
                "first and convert afterwards"
            )
    for name, tensor in held.items():
        if alone and name not in wanted:
            shape = "" if _find_obstacle(tensor) else f" {tuple(tensor.shape)}"
            raise TicketError(f"{name!r}{shape} is in the model and not in the ticket")


def check_writable(model: nn.Module, held: Mapping[str, Tensor]) -> None:
    """Check that each tensor of a model can be filled, without changing another one.

    Raises:
        TicketError: one has no memory, shares it with another tensor or buffer, or was made in inference mode.
    """
    for name, tensor in held.items():
        if why := _find_obstacle(tensor):
            raise TicketError(f"{name!r} {why}")
        if tensor.is_meta:
            raise TicketError(f"{name!r} is on the meta device; give the model memory first")
        if tensor.is_inference() and not torch.is_inference_mode_enabled():
            raise TicketError(f"{name!r} was made in inference mode and cannot be written; build the model outside it")
    try:
        refuse_shared(held, other_buffers(model, held))
    except ValueError as error:
        raise TicketError(str(error)) from None


@final
@dataclass(frozen=True)
class CustomLoading:
    """Loading of a module whose `_load_from_state_dict` takes buffers of other shapes than it has.

    Attributes:
        module: the module.
        prefix: its name and a dot.
        state: the tensors that the ticket stores of it, by whole names.
    """

    module: nn.Module
    prefix: str
    state: Mapping[str, Tensor]

    def load_into(self, module: nn.Module) -> list[str]:
        """Load the state as `load_state_dict` would, and return its messages of errors."""
        errors: list[str] = []
        state, version = {name: tensor.clone() for name, tensor in self.state.items()}, {"version": module._version}
        module._load_from_state_dict(state, self.prefix, version, False, [], [], errors)
        return errors

    def works(self) -> bool:
        """Return True if loading into a copy of the module gives exactly the state."""
        try:
            twin = copy.deepcopy(self.module)
            if self.load_into(twin):
                return False
        except Exception:  # a loader of the user's
            return False
        held = {f"{self.prefix}{name}": tensor for name, tensor in tensors_of(twin).items()}
        return all(name in held and same_bits(held[name].cpu(), tensor) for name, tensor in self.state.items())


def find_loadings(model: nn.Module, held: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> list[CustomLoading]:
    """Return the modules that load the stored tensors themselves, since they change shapes (quantisation observers)."""
    plain = {name: tensor for name, tensor in held.items() if name in stored and not _find_obstacle(tensor)}
    others = [name for name, tensor in stored.items() if name in plain and plain[name].shape != tensor.shape]
    found = []
    for path in dict.fromkeys(name.rpartition(".")[0] for name in others):
        module, prefix = model.get_submodule(path), f"{path}." if path else ""
        if type(module)._load_from_state_dict is not nn.Module._load_from_state_dict:
            leaves = {prefix + leaf for leaf in module._buffers}
            found.append(CustomLoading(module, prefix, {name: stored[name] for name in leaves & stored.keys()}))
    return [loading for loading in found if loading.works()]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return True if two tensors have the same dtype, shape and bits: NaN equals itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(tensor.reshape(-1).view(torch.uint8) for tensor in (one, other)))


def _is_empty(state: Any) -> bool:
    if isinstance(state, Tensor):
        return not state.numel()
    return state is None or (isinstance(state, Sized) and not len(state))


def _find_obstacle(tensor: Tensor) -> str:
    """Return the reason why a tensor is no block of numbers; an empty string if it is one."""
    if nn.parameter.is_lazy(tensor):
        return "has no shape yet: run the lazy module once first"
    if tensor.is_nested or tensor.layout != torch.strided:
        return f"is {'nested' if tensor.is_nested else f'of layout {tensor.layout}'} and not dense"
    if tensor.is_quantized:
        return f"is quantised ({dtype_name(tensor.dtype)})"
    if not tensor.is_meta and tensor.numel() and not tensor.data_ptr():
        return f"is a {type(tensor).__name__} without memory"
    return ""


@functools.cache
def _storable(dtype: torch.dtype) -> bool:
    """Return True if safetensors write and read this dtype."""
    try:
        data = safetensors.torch.save({"": torch.empty(0, dtype=dtype, device="cpu")})
        return safetensors.torch.load(data)[""].dtype == dtype
    except (KeyError, RuntimeError, TypeError, ValueError):
        return False
