"""How a mask sits on a module: a child that holds weights and scores, and a subclass that reads them.

Each masked tensor moves into a child `MaskState`, named `<tensor>_mask`, beside its scores; the owner's class becomes
a cached subclass on which the tensor's name is a property that returns the effective weight. So every reader of
`module.weight` (fused attention kernels, tied heads, code outside `forward`) reads the masked weight, and no layer
type is special. Within one forward of the root the effective weight is computed once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained.methods.base import Method


@dataclass
class Group:
    """The masked tensors that one method chooses from.

    Attributes:
        planned: the method with its schedules.
        seed: what samples are drawn from.
        method: the method as it is now.
        noise: what the samples of the latest forward pass came from; a recomputed region needs it again.
    """

    planned: Method
    seed: int
    states: list[MaskState] = field(default_factory=list)
    method: Method = field(init=False)
    noise: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.move(0, 1)

    def move(self, step: int, steps: int) -> None:
        """Be what one is when `step` of `steps` are done: schedules, and what the next samples come from."""
        self.method = self.planned.at(step / steps)
        # Not torch's global generator: searches in other threads draw from that, too.
        digest = hashlib.sha256(f"samples/{self.seed}/{step}".encode()).digest()
        self.noise = torch.tensor(int.from_bytes(digest[:8], "little") >> 2, dtype=torch.int64)

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
        with contextlib.nullcontext() if torch.compiler.is_compiling() else _plain_saving():
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


def _plain_saving() -> contextlib.AbstractContextManager[None]:
    # Activation checkpointing counts what a region saves; the choice may run inside it once and not the next time.
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
        # change hands within a forward.
        if self._in_forward and not torch.compiler.is_compiling() and type(self.scores) is nn.Parameter:
            for state in states:
                state._computed = grad, computed[state.name]
        return computed[self.name]

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}, {self.group.method}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_forward": False, "_computed": None}


def base_and_leaves(module: nn.Module) -> tuple[type[nn.Module], tuple[str, ...]]:
    """The class a module had before it was masked, and the names of its masked tensors."""
    return getattr(type(module), "_masked_base", type(module)), getattr(type(module), "_masked_leaves", ())


@functools.cache
def masked_class(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> type[nn.Module]:
    """The subclass of `base` whose `leaves` are read from their MaskStates. Never mutated, so copies may share it.

    Args:
        base: the class of the owner.
        leaves: names of its masked tensors.
        root: whether this is the model that `mask_` was called on, whose forward bounds what is computed once.
    """

    def new(cls: type, *args: Any, **kwargs: Any) -> nn.Module:
        return base(*args, **kwargs)  # a slice of a masked Sequential, say, is an ordinary one

    def setattr_(self: nn.Module, name: str, value: Any) -> None:
        if name in leaves:
            raise AttributeError(f"{name!r} of this {base.__name__} is masked and cannot be set; bake_ the model first")
        base.__setattr__(self, name, value)

    def reduce_ex(self: nn.Module, protocol: int) -> tuple:
        state = dict(self.__getstate__())  # pyright: ignore[reportArgumentType]
        if isinstance(self, nn.RNNBase):
            # It keeps a list of the tensors it last used, and no copy can be made of those: it will find new ones.
            state["_flat_weights"] = [torch.empty(0) for _ in self._flat_weights_names]
        return _new_masked, (base, leaves, root), state

    # Not hooks: torch.compile runs those in a graph of their own.
    @functools.wraps(base.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        groups: tuple[Group, ...] = self._untrained.groups  # pyright: ignore
        try:
            _enter(groups)
            return base.forward(self, *args, **kwargs)
        finally:
            for group in groups:
                for state in group.states:
                    state._in_forward, state._computed = False, None

    properties = {
        leaf: property(functools.partial(lambda leaf, self: self._modules[leaf + "_mask"].effective(), leaf))
        for leaf in leaves
    }
    notes = {"_masked_base": base, "_masked_leaves": leaves, "__module__": base.__module__, "__new__": new}
    methods = {"__reduce_ex__": reduce_ex, "__setattr__": setattr_} | ({"forward": forward} if root else {})
    return type(f"Masked{base.__name__}", (base,), {**properties, **notes, **methods})


def _new_masked(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> nn.Module:
    return object.__new__(masked_class(base, leaves, root))


def _enter(groups: Sequence[Group]) -> None:
    for group in groups:
        group.draw_noise()
        for state in group.states:
            state._in_forward, state._computed = True, None
        if torch.compiler.is_compiling() and all(type(state.scores) is nn.Parameter for state in group.states):
            computed = group.choose(sample=group.states[0].training)
            for state in group.states:
                state._computed = torch.is_grad_enabled(), computed[state.name]
