"""The state of a search: frozen values and scores of masked tensors, in groups that are chosen together."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained.methods.base import Method
from untrained.selection.straight_through import is_traced, is_transformed
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source

_SAMPLE = 1024


@dataclass
class Group:
    """The masked tensors that one method chooses from.

    Attributes:
        planned: the method with its schedules.
        seed: the seed of samples.
        method: the method at the current step.
        step, steps: the current step, and the steps of the whole search.
        noise: the noise of the latest forward pass; a recomputed region needs the same once more.
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
        # Tensors that a transform of torch.func left here have no memory to copy.
        noise = torch.tensor(int(self.noise), dtype=torch.int64, device="cpu")
        return {**vars(self), "_read": None, "noise": noise}

    def move(self, step: int, steps: int, noise_seed: int | None = None) -> None:
        """Set schedules and the noise of the next samples to step `step` of `steps`."""
        self.step, self.steps, self.method = step, steps, self.planned.at(step / steps)
        own = "" if noise_seed is None else f"/{noise_seed}"
        # Not torch's global generator: searches in other threads draw from that, too.
        digest = hashlib.sha256(f"samples/{self.seed}/{step}{own}".encode()).digest()
        self.set_noise(int.from_bytes(digest[:8], "little") >> 2)

    def set_noise(self, noise: int) -> None:
        """Set the noise that the next forward pass counts on from."""
        self.noise = torch.tensor(noise, dtype=torch.int64, device="cpu")

    @property
    def final(self) -> Method:
        """The method at the end of the search, which a ticket names."""
        return self.planned.at(1.0)

    def choose(self, states: Sequence[MaskState] | None = None, *, sample: bool = False) -> dict[str, Tensor]:
        """Return the effective weights of these states chosen together (default: all), by name.

        With `sample` they are a sample where the method samples, and not the likeliest choice.
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
        """Draw new noise, for the samples of another forward pass."""
        if self.method.samples:
            self.noise = self.noise + 1

    def hand_out(self, name: str, value: Tensor) -> Tensor:
        """Store a weight that is read outside of any forward pass, to detect writes into it."""
        self.check_handed_out()
        if not (value.is_inference() or value.is_meta):
            self._read = name, value, value._version, _take_sample(value)
        return value

    def check_handed_out(self) -> None:
        """Warn if the weight that was handed out last was written into: the write is lost."""
        if self._read is None:
            return
        (name, value, version, some), self._read = self._read, None
        if value._version != version or not torch.equal(_take_sample(value), some):
            warnings.warn(
                f"{name!r} was written into; it is masked and computed anew at every use, so the write is lost: "
                "bake_ the model before you initialise, prune or merge",
                stacklevel=4,
            )

    @staticmethod
    def tensors(states: Sequence[MaskState]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return (frozen weights, scores), both by name."""
        for state in states:
            if hasattr(state.scores, "full_tensor"):  # a DTensor that FSDP2 has not gathered
                raise ValueError(
                    f"the scores of {state.name!r} are sharded and the choice needs them whole: call unshard() first, "
                    "or, to choose over all tensors together, shard the root module only"
                )
        return {state.name: state.frozen for state in states}, {state.name: state.scores for state in states}


def _take_sample(value: Tensor) -> Tensor:
    flat = value.detach().reshape(-1)
    return flat[:: max(1, value.numel() // _SAMPLE)].nan_to_num().clone()


class _OfPass(torch.autograd.Function):
    """An identity that saves a tensor whose shape is the number of the forward pass.

    Activation checkpointing compares the shapes of saved tensors when it computes a region again. Where another forward
    pass came between, the sample would be another one: torch then raises an error.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, number: int) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(weight.new_empty(1).expand(1 + number % (1 << 20)))
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore
        return grad, None


def _plain_saving() -> contextlib.AbstractContextManager[Any]:
    # Activation checkpointing counts the saved tensors of a region; the choice may run inside it only once.
    if torch.compiler.is_compiling() or is_transformed():
        return contextlib.nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


@final
class MaskState(nn.Module):
    """The state of one masked tensor: its frozen values and its scores. Tied owners share it."""

    def __init__(
        self, name: str, shape: Sequence[int], frozen: Tensor, scores: Tensor, group: Group, padding: int | None
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
        """The frozen weight, without the other frozen values of its method."""
        return self.frozen if self.group.planned.planes == 1 else self.frozen[0]

    @torch.no_grad()
    def clear_padding_(self) -> None:
        """Make the row of padding zero in frozen values and scores, so that it is ranked last and gets no gradient."""
        if self.padding is not None:
            for tensor in (self.frozen, self.scores):
                tensor.select(tensor.ndim - len(self.shape), self.padding).zero_()

    def effective(self) -> Tensor:
        """Return the effective weight: computed now, or taken from the forward pass in progress."""
        weight = self._choose()
        tags = self.training and self.group.method.samples and weight.requires_grad
        if not tags or is_transformed() or is_traced(weight):
            return weight
        return _OfPass.apply(weight, int(self.group.noise))  # pyright: ignore[reportReturnType]

    def _choose(self) -> Tensor:
        grad, kept = torch.is_grad_enabled(), self._computed  # read once: another thread may clear it
        if kept is not None and kept[0] == grad:
            return kept[1]
        states = self.group.states if self.group.method.together else [self]
        computed = self.group.choose(states, sample=self.training)
        # A compiler may not store from inside a checkpointed region; under FSDP2 and functional_call the parameters
        # change hands within a forward, and under torch.func a tensor belongs to one level.
        if is_transformed() or is_traced(computed[self.name]):
            return computed[self.name]
        if not self._in_forward:
            return self.group.hand_out(self.name, computed[self.name])
        if type(self.scores) is nn.Parameter:
            for state in states:
                if state._in_forward and state.training == self.training:
                    state._computed = grad, computed[state.name]
        return computed[self.name]

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}, {self.group.method}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_forward": False, "_computed": None}

    def get_extra_state(self) -> Tensor:
        """Return (step, steps, noise) of the search as int64, for the state dict."""
        group = self.group
        return torch.tensor([group.step, group.steps, int(group.noise)], dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Set the step and the noise to those of another search."""
        step, steps, noise = map(int, state.tolist())
        if not 0 <= step <= steps or steps < 1:
            raise ValueError(f"the state dict must have {self.name!r} at a step in 0..steps, got {step} of {steps}")
        self.group.move(step, steps)
        self.group.set_noise(noise)

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]  the rest is passed on
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing_keys: list[str], *rest: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing_keys, *rest)
        if prefix + "_extra_state" in missing_keys:  # saved before state dicts had it
            missing_keys.remove(prefix + "_extra_state")


@dataclass(frozen=True)
class Record:
    """Record of a call of `mask_`: all data, beside the codes, from which the tensors can be built again.

    Attributes:
        seed: the seed of everything that is drawn.
        law: the law of the frozen weights, or None for those of a pretrained model.
        groups: the masked tensors by method.
        drawn: frozen tensors drawn from the seed that are not searched: all of them kept.
        constant: frozen tensors that hold one value: biases 0, norm scales 1, others the value they had.
        trained: names of the tensors that learn as usual.
        padding: rows of drawn or masked embeddings that stand for padding, and are zero.
        own: dtype and sha256 of a pretrained model's frozen tensors; none where a law gives them.
    """

    seed: int
    law: WeightLaw | None
    groups: tuple[Group, ...]
    drawn: tuple[str, ...]
    constant: Mapping[str, float]
    trained: frozenset[str]
    padding: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, tuple[torch.dtype, str]] = field(default_factory=dict)

    @property
    def states(self) -> list[MaskState]:
        return [state for group in self.groups for state in group.states]

    def source(self, name: str, weight: Tensor, method: Method | None) -> Source:
        """Return the source of the frozen values of a tensor; its final method gives the fraction kept."""
        keep = None if method is None else method.final_keep
        return Source.of(weight, name, seed=self.seed, law=self.law, keep=keep)
