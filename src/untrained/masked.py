"""How a mask sits on a module: a child that holds weights and scores, and a subclass that reads them.

Each masked tensor moves into a child `MaskState`, named `<tensor>_mask`, beside its scores; the owner's class becomes
a cached subclass on which the tensor's name is a property that returns the effective weight. So every reader of
`module.weight` (fused attention kernels, tied heads, code outside `forward`) reads the masked weight, and no layer
type is special. Whatever module is called from outside, the model or a part of it, that is one forward pass: within it
the effective weight is computed once, from one sample.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from untrained.effective import traced, transformed
from untrained.methods.base import Method

_SAMPLE = 1024


@dataclass
class Group:
    """The masked tensors that one method chooses from.

    Attributes:
        planned: the method with its schedules.
        seed: what samples are drawn from.
        method: the method as it is now.
        step, steps: how far the search is.
        noise: what the samples of the latest forward pass came from; a recomputed region needs it again.
    """

    planned: Method
    seed: int
    states: list[MaskState] = field(default_factory=list)
    method: Method = field(init=False)
    step: int = field(init=False)
    steps: int = field(init=False)
    noise: Tensor = field(init=False)
    _read: tuple[str, Tensor, int, Tensor] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.move(0, 1)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_read": None}

    def move(self, step: int, steps: int, noise_seed: int | None = None) -> None:
        """Be what one is when `step` of `steps` are done: schedules, and what the next samples come from."""
        self.step, self.steps, self.method = step, steps, self.planned.at(step / steps)
        own = "" if noise_seed is None else f"/{noise_seed}"
        # Not torch's global generator: searches in other threads draw from that, too.
        digest = hashlib.sha256(f"samples/{self.seed}/{step}{own}".encode()).digest()
        self.set_noise(int.from_bytes(digest[:8], "little") >> 2)

    def set_noise(self, noise: int) -> None:
        """Choose what the samples of the next forward pass follow on."""
        self.noise = torch.tensor(noise, dtype=torch.int64, device="cpu")

    @property
    def final(self) -> Method:
        """The method as it is when the search is over: what a ticket names."""
        return self.planned.at(1.0)

    def choose(self, states: Sequence[MaskState] | None = None, *, sample: bool = False) -> dict[str, Tensor]:
        """The effective weights, by name, of these states chosen together (default: all).

        Args:
            states: which.
            sample: take a sample of them, where the method samples, and not the likeliest choice.
        """
        states = self.states if states is None else states
        with _plain_saving():
            if sample and self.method.samples:
                return self.method.sampled(*self.tensors(states), self.noise)
            if any(state.padding is not None for state in states):
                return self.method.through(*self.tensors(states), self.codes(states))
            return self.method.effective(*self.tensors(states))

    def codes(self, states: Sequence[MaskState] | None = None) -> dict[str, Tensor]:
        """Return the codes of these states chosen together (default: all); 0 in the rows of padding."""
        states = self.states if states is None else states
        codes = self.method.codes(*self.tensors(states))
        for state in states:
            if state.padding is not None:
                code = codes[state.name]
                codes[state.name] = torch.select_scatter(code, torch.zeros_like(code[0]), 0, state.padding)
        return codes

    def draw_noise(self) -> None:
        """New noise, for the samples of another forward pass."""
        if self.method.samples:
            self.noise = self.noise + 1

    def hand_out(self, name: str, value: Tensor) -> Tensor:
        """Remember a weight that is read outside of any forward pass, to see whether somebody writes into it."""
        self.check_handed_out()
        if not (value.is_inference() or value.is_meta):
            self._read = name, value, value._version, _some_of(value)
        return value

    def check_handed_out(self) -> None:
        """Warn if the weight that was handed out last was written into: it is computed, and the write is lost."""
        if self._read is None:
            return
        (name, value, version, some), self._read = self._read, None
        if value._version != version or not torch.equal(_some_of(value), some):
            warnings.warn(
                f"{name!r} was written into; it is masked and computed anew at every use, so the write is lost: "
                "bake_ the model before you initialise, prune or merge",
                stacklevel=4,
            )

    @staticmethod
    def tensors(states: Sequence[MaskState]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(frozen weights, scores) by name."""
        for state in states:
            if hasattr(state.scores, "full_tensor"):  # a DTensor that FSDP2 has not gathered
                raise ValueError(
                    f"the scores of {state.name!r} are sharded and the choice needs them whole: call unshard() first, "
                    "or, to choose over all tensors together, shard the root module only"
                )
        return {state.name: state.frozen for state in states}, {state.name: state.scores for state in states}


def _some_of(value: Tensor) -> Tensor:
    flat = value.detach().reshape(-1)
    return flat[:: max(1, len(flat) // _SAMPLE)].nan_to_num().clone()


def _plain_saving() -> contextlib.AbstractContextManager[Any]:
    # Activation checkpointing counts what a region saves; the choice may run inside it once and not the next time.
    if torch.compiler.is_compiling() or transformed():
        return contextlib.nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


@final
class MaskState(nn.Module):
    """One masked tensor: what is frozen of it and its scores. Tied owners share it."""

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        frozen: Tensor,
        scores: Tensor,
        group: Group,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.shape, self.group, self.padding = name, tuple(shape), group, padding
        # A parameter and not a buffer: DDP sends buffers again at every forward.
        self.frozen = nn.Parameter(frozen.detach(), requires_grad=False)
        self.scores = nn.Parameter(scores, requires_grad=group.method.learns)
        self._in_forward = False
        self._computed: tuple[bool, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The frozen weight, whatever else is frozen beside it."""
        return self.frozen if self.group.planned.planes == 1 else self.frozen[0]

    @torch.no_grad()
    def clear_padding_(self) -> None:
        """Make the row of padding zero, in what is frozen and in the scores: it is ranked last and gets no gradient."""
        if self.padding is not None:
            for tensor in (self.frozen, self.scores):
                tensor.select(tensor.ndim - len(self.shape), self.padding).zero_()

    def effective(self) -> Tensor:
        """The effective weight: computed now, or taken from the forward in progress."""
        grad, kept = torch.is_grad_enabled(), self._computed  # read once: another thread may clear it
        if kept is not None and kept[0] == grad:
            return kept[1]
        states = self.group.states if self.group.method.together else [self]
        computed = self.group.choose(states, sample=self.training)
        # A compiler may not store from inside a checkpointed region; under FSDP2 and functional_call the parameters
        # change hands within a forward, and under torch.func a tensor belongs to one level.
        if transformed() or traced(computed[self.name]):
            return computed[self.name]
        if not self._in_forward:
            return self.group.hand_out(self.name, computed[self.name])
        if type(self.scores) is nn.Parameter:
            for state in states:
                state._computed = grad, computed[state.name]
        return computed[self.name]

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}, {self.group.method}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_forward": False, "_computed": None}

    def get_extra_state(self) -> Tensor:
        """How far the search is, for the state dict: (step, steps, noise), int64."""
        group = self.group
        return torch.tensor([group.step, group.steps, int(group.noise)], dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Go on where another search was."""
        step, steps, noise = map(int, state.tolist())
        if not 0 <= step <= steps or steps < 1:
            raise ValueError(f"the state dict must have {self.name!r} at a step in 0..steps, got {step} of {steps}")
        self.group.move(step, steps)
        self.group.set_noise(noise)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if prefix + "_extra_state" in missing_keys:  # saved before state dicts had it
            missing_keys.remove(prefix + "_extra_state")


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


def base_and_leaves(module: nn.Module) -> tuple[type[nn.Module], tuple[str, ...]]:
    """The class a module had before it was masked, and the names of its masked tensors."""
    return getattr(type(module), "_masked_base", type(module)), getattr(type(module), "_masked_leaves", ())


class _Unannounced:
    """A base that keeps `__init_subclass__` of somebody's registry from seeing our classes."""

    def __init_subclass__(cls) -> None:
        pass


@functools.cache
def masked_class(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> type[nn.Module]:
    """The subclass of `base` whose `leaves` are read from their MaskStates. Never mutated, so copies may share it.

    Args:
        base: the class of the owner, or of a module that holds owners.
        leaves: names of its masked tensors.
        root: whether this is the model that `mask_` was called on.
    """

    def new(cls: type, *args: Any, **kwargs: Any) -> nn.Module:
        # A slice of a masked Sequential, say, is an ordinary one; what copies a module by hand passes nothing.
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
        return _new_masked, (base, leaves, root), _without_views(self, self.__getstate__())  # pyright: ignore

    def deepcopy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
        twin = memo[id(self)] = _new_masked(_class_for_a_copy(base), leaves, root)
        vars(twin).update(copy.deepcopy(_without_views(self, vars(self)), memo))
        return twin

    # Not hooks: torch.compile runs those in a graph of their own.
    @functools.wraps(base.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        states = _at_rest(self)
        if not states:
            return base.forward(self, *args, **kwargs)
        try:
            _begin(states)
            return base.forward(self, *args, **kwargs)
        finally:
            end_pass(states)

    def replicate(self: nn.Module) -> nn.Module:
        for group in _groups(_states(self)):
            group.draw_noise()  # DataParallel calls its replicas, whose noise is not kept
        return base._replicate_for_data_parallel(self)

    def get_name(self: nn.Module) -> str:
        return f"Masked{base.__name__}"

    members: dict[str, Any] = {
        leaf: property(functools.partial(lambda leaf, self: self._modules[leaf + "_mask"].effective(), leaf))
        for leaf in leaves
    }
    members |= {"_masked_base": base, "_masked_leaves": leaves, "__module__": base.__module__, "_get_name": get_name}
    members |= {"__new__": new, "__init__": init, "__reduce_ex__": reduce_ex, "__setattr__": setattr_}
    members |= {"forward": forward, "__qualname__": f"Masked{base.__name__}"}
    if hasattr(base, "__deepcopy__"):
        members["__deepcopy__"] = deepcopy
    if root:
        members["_replicate_for_data_parallel"] = replicate
    # The name stays: frameworks look classes up by it, and write it into files.
    announces = any("__init_subclass__" in vars(each) for each in base.__mro__[:-1])
    return type(base.__name__, (_Unannounced, base) if announces else (base,), members)


def _new_masked(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> nn.Module:
    return object.__new__(masked_class(base, leaves, root))


def _without_views(module: nn.Module, state: Any) -> dict[str, Any]:
    """The state of a module to copy."""
    if not isinstance(module, nn.RNNBase):
        return dict(state)
    # It keeps a list of the tensors it last used, and no copy can be made of those: it will find new ones.
    return {**state, "_flat_weights": [torch.empty(0, device="cpu") for _ in module._flat_weights_names]}


def _class_for_a_copy(base: type[nn.Module]) -> type[nn.Module]:
    """A class like `base`; one of its own for a GraphModule, whose compiled forward is its class's."""
    if not issubclass(base, GraphModule):
        return base
    return type(base.__name__, (base,), {"forward": base.forward, "__module__": base.__module__})


def _states(module: nn.Module) -> list[MaskState]:
    """The masked tensors within a module."""
    record = vars(module).get("_untrained")
    if record is not None and "_is_replica" not in vars(module):
        return record.states
    return [each for each in module.modules() if isinstance(each, MaskState)]


def _groups(states: Iterable[MaskState]) -> list[Group]:
    return list({id(state.group): state.group for state in states}.values())


def _at_rest(module: nn.Module) -> list[MaskState]:
    """The masked tensors within a module that is called now, or none where a forward pass is in progress already."""
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


def _begin(states: Sequence[MaskState]) -> None:
    compiling = torch.compiler.is_compiling()
    # A region that is recomputed in a backward pass needs the sample it had.
    recomputed = not compiling and torch._C._current_graph_task_id() != -1
    for group in _groups(states):
        if not compiling:
            group.check_handed_out()
        if not recomputed:
            group.draw_noise()
    for state in states:
        state._in_forward, state._computed = True, None
    if compiling and all(type(state.scores) is nn.Parameter for state in states):
        for group in _groups(states):
            own = group.states if group.method.together else [state for state in states if state.group is group]
            for name, value in group.choose(own, sample=own[0].training).items():
                next(s for s in own if s.name == name)._computed = torch.is_grad_enabled(), value


def end_pass(states: Sequence[MaskState]) -> None:
    """Forget what was computed for a forward pass."""
    for group in _groups(states):
        for state in group.states:
            state._in_forward, state._computed = False, None
