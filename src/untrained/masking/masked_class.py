"""Subclasses of modules whose masked tensors are properties.

Each masked tensor moves into a child `MaskState`, named `<tensor>_mask`, beside its scores; the owner's class becomes
a cached subclass on which the tensor's name is a property that returns the effective weight. So every reader of
`module.weight` (fused attention kernels, tied heads, code outside `forward`) reads the masked weight, and no layer
type is special. A call of the model, or of a part of it, from outside is one forward pass: within it the effective
weight is computed once, from one sample.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, jit, nn
from torch.fx import GraphModule

from untrained.masking.state import Group, MaskState


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and persistent buffers by their first name, without those of the search."""
    found: dict[int, tuple[str, Tensor]] = {}
    for path, module in model.named_modules():
        if isinstance(module, MaskState):
            continue
        buffers = {k: b for k, b in module._buffers.items() if k not in module._non_persistent_buffers_set}
        for leaf, tensor in (*module._parameters.items(), *buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), (f"{path}.{leaf}".lstrip("."), tensor))
    return dict(found.values())


def other_buffers(model: nn.Module, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the buffers of a model that are not among the held tensors of its state dict, by name."""
    known = set(map(id, held.values()))
    return {name: buffer for name, buffer in model.named_buffers() if id(buffer) not in known}


def base_and_leaves(module: nn.Module) -> tuple[type[nn.Module], tuple[str, ...]]:
    """Return the class that a module had before it was masked, and the names of its masked tensors."""
    return getattr(type(module), "_masked_base", type(module)), getattr(type(module), "_masked_leaves", ())


class _Unannounced:
    """A base that keeps `__init_subclass__` of a user's registry from seeing masked classes."""

    def __init_subclass__(cls) -> None:
        pass


@functools.cache
def masked_class(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> type[nn.Module]:
    """Return the subclass of `base` whose `leaves` are read from their MaskStates.

    It is never mutated, so copies may share it.

    Args:
        base: the class of the owner, or of a module that holds owners.
        leaves: names of its masked tensors.
        root: True for the model that `mask_` was called on.
    """

    def new(cls: type, *args: Any, **kwargs: Any) -> nn.Module:
        # A slice of a masked Sequential, say, is an ordinary one; code that copies modules by hand passes no arguments.
        return base(*args, **kwargs) if args or kwargs else object.__new__(cls)

    @functools.wraps(base.__init__)
    def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        self.__class__ = base
        base.__init__(self, *args, **kwargs)

    def setattr_(self: nn.Module, name: str, value: Any) -> None:
        if name in leaves:
            raise AttributeError(f"{name!r} of this {base.__name__} is masked and cannot be set; bake_ the model first")
        base.__setattr__(self, name, value)

    def reduce_ex(self: nn.Module, protocol: int) -> tuple:
        return _new_masked, (base, leaves, root), _drop_views(self, self.__getstate__())  # pyright: ignore

    def deepcopy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
        twin = memo[id(self)] = _new_masked(_make_copy_class(base), leaves, root)
        vars(twin).update(copy.deepcopy(_drop_views(self, vars(self)), memo))
        return twin

    def replicate(self: nn.Module) -> nn.Module:
        for group in _groups(_states(self)):
            group.draw_noise()  # DataParallel calls its replicas, whose noise is not kept
        return base._replicate_for_data_parallel(self)

    members: dict[str, Any] = {leaf: _make_property(leaf) for leaf in leaves}
    members |= {"_masked_base": base, "_masked_leaves": leaves, "__module__": base.__module__}
    members |= {"__new__": new, "__init__": init, "__reduce_ex__": reduce_ex, "__setattr__": setattr_}
    members |= {"forward": _make_forward(base), "__qualname__": f"Masked{base.__name__}"}
    members["_get_name"] = lambda self: f"Masked{base.__name__}"
    if hasattr(base, "__deepcopy__"):
        members["__deepcopy__"] = deepcopy
    if root:
        members["_replicate_for_data_parallel"] = replicate
    # The name stays: frameworks look classes up by it, and write it into files.
    announces = any("__init_subclass__" in vars(each) for each in base.__mro__[:-1])
    return type(base.__name__, (_Unannounced, base) if announces else (base,), members)


def _make_property(leaf: str) -> property:
    # A closure: torch 2.8 compiles no functools.partial here.
    return property(lambda self: self._modules[leaf + "_mask"].effective())


def _make_forward(base: type[nn.Module]) -> Callable[..., Any]:
    """Return the forward of a class as one forward pass; no hooks, which torch.compile runs in a separate graph."""

    @functools.wraps(base.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        states = _states_outside_a_pass(self)
        if not states:
            return base.forward(self, *args, **kwargs)
        try:
            _begin_pass(states)
            return base.forward(self, *args, **kwargs)
        finally:
            end_pass(states)

    return forward


def _new_masked(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> nn.Module:
    return object.__new__(masked_class(base, leaves, root))


def _drop_views(module: nn.Module, state: Any) -> dict[str, Any]:
    """Return the state of a module to copy, without tensors that are views of others."""
    if not isinstance(module, nn.RNNBase):
        return dict(state)
    # Its list of the tensors last used cannot be copied; the copy fills the list again.
    return {**state, "_flat_weights": [torch.empty(0, device="cpu") for _ in module._flat_weights_names]}


def _make_copy_class(base: type[nn.Module]) -> type[nn.Module]:
    """Return the class for a copy: a new one for a GraphModule, whose compiled forward is stored on its class."""
    if not issubclass(base, GraphModule):
        return base
    return type(base.__name__, (base,), {"forward": base.forward, "__module__": base.__module__})


def _states(module: nn.Module) -> list[MaskState]:
    """Return the masked tensors within a module."""
    record = vars(module).get("_untrained")
    if record is not None and "_is_replica" not in vars(module):
        return record.states
    return [each for each in module.modules() if isinstance(each, MaskState)]


def _groups(states: Iterable[MaskState]) -> list[Group]:
    return list({id(state.group): state.group for state in states}.values())


def _states_outside_a_pass(module: nn.Module) -> list[MaskState]:
    """Return the masked tensors within a module, or none while a forward pass is in progress."""
    first = next((each for each in module.modules() if isinstance(each, MaskState)), None)
    if first is None or first._in_forward:
        return []
    states = _states(module)
    if "_is_replica" in vars(module):
        for group in _groups(states):
            twin = copy.copy(group)
            twin.states = [state for state in states if state.group is group]
            for state in twin.states:
                state.group = twin
    return states


def _begin_pass(states: Sequence[MaskState]) -> None:
    compiling = torch.compiler.is_compiling()
    # A region that is recomputed in a backward pass needs the sample it had.
    recomputed = not compiling and torch._C._current_graph_task_id() != -1
    for group in _groups(states):
        if not (compiling or jit.is_tracing()):  # pyright: ignore[reportPrivateImportUsage]
            group.check_handed_out()
        if not recomputed:
            group.draw_noise()
    for state in states:
        state._in_forward, state._computed = True, None
    if compiling and all(type(state.scores) is nn.Parameter for state in states):
        for group in _groups(states):
            own = group.states if group.method.together else [state for state in states if state.group is group]
            for training in {state.training for state in own}:
                chosen = group.choose(
                    own if group.method.together else [s for s in own if s.training == training], sample=training
                )
                for state in own:
                    if state.training == training:
                        state._computed = torch.is_grad_enabled(), chosen[state.name]


def end_pass(states: Sequence[MaskState]) -> None:
    """Delete the values computed for a forward pass."""
    for state in states:
        state._in_forward, state._computed = False, None
