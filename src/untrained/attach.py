"""A Method on any nn.Module: `mask_`, `scores`, `masks`, `baked`, `bake_`. The library's one mutable shell.

Each masked tensor moves into a child `MaskState`, named `<tensor>_mask`, beside its scores; the owner's class becomes
a cached subclass on which the tensor's name is a property that returns the effective weight. So every reader of
`module.weight` (fused attention kernels, tied heads, code outside `forward`) reads the masked weight, and no layer
type is special. Within one forward of the root the effective weight is computed once.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from untrained.methods.base import Method
from untrained.weights import SignedConstant, WeightLaw, check_seed

Where = str | Callable[[str, nn.Parameter], bool]
Model = TypeVar("Model", bound=nn.Module)


@dataclass
class Group:
    """The masked tensors that one method chooses from."""

    method: Method
    states: list[MaskState] = field(default_factory=list)

    def choose(self, states: Sequence[MaskState] | None = None) -> dict[str, Tensor]:
        """The effective weights, by name, of these states chosen together (default: all)."""
        states = self.states if states is None else states
        with contextlib.nullcontext() if torch.compiler.is_compiling() else _plain_saving():
            return self.method.effective(*self.tensors(states))

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
    """One masked tensor: its frozen values and its scores. Tied owners share it."""

    def __init__(self, name: str, frozen: nn.Parameter, scores: Tensor, group: Group) -> None:
        super().__init__()
        self.name, self.group = name, group
        # A parameter and not a buffer: DDP sends buffers again at every forward.
        self.frozen = nn.Parameter(frozen.detach(), requires_grad=False)
        self.scores = nn.Parameter(scores, requires_grad=group.method.learns)
        self._in_forward = False
        self._computed: tuple[bool, Tensor] | None = None

    def effective(self) -> Tensor:
        """The effective weight: computed now, or taken from the forward in progress."""
        grad, kept = torch.is_grad_enabled(), self._computed  # read once: another thread may clear it
        if kept is not None and kept[0] == grad:
            return kept[1]
        states = self.group.states if self.group.method.together else [self]
        computed = self.group.choose(states)
        # A compiler may not store from inside a checkpointed region; under FSDP2 and functional_call the parameters
        # change hands within a forward.
        if self._in_forward and not torch.compiler.is_compiling() and type(self.scores) is nn.Parameter:
            for state in states:
                state._computed = grad, computed[state.name]
        return computed[self.name]

    def extra_repr(self) -> str:
        return f"{self.name!r}, {tuple(self.frozen.shape)}, {self.group.method}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_in_forward": False, "_computed": None}


@dataclass(frozen=True)
class Record:
    """What `mask_` did to a model: all that is needed, beside the codes, to make its tensors again."""

    seed: int
    law: WeightLaw | None
    groups: tuple[Group, ...]
    drawn: tuple[str, ...]
    """Frozen tensors drawn from the seed that are not searched: all of them kept."""
    constant: Mapping[str, float]
    """Frozen tensors that hold one value: biases 0, norm scales 1."""

    def states(self) -> Iterator[MaskState]:
        for group in self.groups:
            yield from group.states


def mask_(
    model: Model,
    method: Method | Mapping[str, Method],
    *,
    seed: int = 0,
    weights: WeightLaw | None = SignedConstant(),  # noqa: B008  a frozen dataclass
    where: Where | None = None,
    also_train: Where | None = None,
) -> Model:
    """Redraw a model's weights from the seed, freeze it, and give its weights scores to learn; in place.

    Only parameters of two or more dimensions are ever masked. With drawn weights (the default) the others of them
    are drawn from the seed too and kept whole, biases become 0 and norm scales 1, and running statistics start
    anew; what is neither (a learned scale, say) stays as it was, frozen. With `weights=None` everything stays as
    the model had it, frozen.

    Args:
        model: any nn.Module; it must not be masked yet.
        method: the method for all masked tensors, or {regular expression: method}, the first that matches a
            tensor's whole name being used and tensors that none matches left unmasked.
        seed: 0 ≤ seed < 2⁶⁴; gives the weights and the first scores.
        weights: the law of the frozen weights, or None to keep the model's own (pretrained) weights.
        where: which tensors are masked: a regular expression for the whole name, or a function of (name,
            parameter). Default: all of two or more dimensions.
        also_train: which parameters learn as usual, unmasked; same spellings. The ticket stores them whole.

    Returns:
        The model itself.

    Raises:
        ValueError: nothing matched, the model is masked already, or a tensor cannot be masked.

    Source: Ramanujan et al. 2019, section 3 (no biases, norm without scale and shift, weights never trained).
    """
    check_seed(seed)
    if any(isinstance(module, MaskState) for module in model.modules()):
        raise ValueError("the model is masked already; bake_ it first, or build it anew")
    owners: dict[str, list[tuple[nn.Module, str]]] = {}
    first_name: dict[int, str] = {}
    for path, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                name = first_name.setdefault(id(parameter), f"{path}.{leaf}".lstrip("."))
                owners.setdefault(name, []).append((module, leaf))
    parameters = {name: getattr(*owners[name][0]) for name in owners}
    trained = {name for name in parameters if also_train is not None and _matches(also_train, name, parameters[name])}
    if also_train is not None and not trained:
        raise ValueError(_nothing_matched("also_train", parameters))
    matrices = [name for name, p in parameters.items() if p.ndim >= 2 and p.is_floating_point() and name not in trained]
    chosen = _choose(method, where, {name: parameters[name] for name in matrices}, parameters)
    for name in chosen:
        _refuse_owners(name, owners[name])
        if parameters[name].is_meta:
            raise ValueError(
                f"{name!r} is on the meta device: give the model memory first (model.to_empty(device=...))"
            )

    drawn, constant = [], {}
    if weights is not None:
        with torch.no_grad():
            for name in matrices:
                keep = getattr(chosen.get(name), "keep", 1.0)
                parameters[name].copy_(weights.draw(parameters[name].shape, seed=seed, name=name, keep=keep))
            for name in parameters.keys() - trained - set(matrices):
                value = _constant_value(*owners[name][0])
                if value is not None:
                    constant[name] = value
                    parameters[name].fill_(value)
        for module in model.modules():
            if hasattr(module, "reset_running_stats"):
                module.reset_running_stats()  # pyright: ignore[reportCallIssue]
        drawn = [name for name in matrices if name not in chosen]

    grouped: dict[int, Group] = {}
    for name, its_method in chosen.items():
        group = grouped.setdefault(id(its_method), Group(its_method))
        generator = torch.Generator().manual_seed(_score_seed(seed, name))
        first_scores = its_method.init_scores(parameters[name].detach(), generator)
        group.states.append(MaskState(name, parameters[name], first_scores, group))
    model.requires_grad_(False)
    for name in trained:
        parameters[name].requires_grad_(True)
    for group in grouped.values():
        for state in group.states:
            for owner, leaf in owners[state.name]:
                _attach_state_(owner, leaf, state)
    constant = {name: constant[name] for name in parameters if name in constant}
    model._untrained = Record(seed, weights, tuple(grouped.values()), tuple(drawn), constant)  # pyright: ignore
    model.__class__ = _masked_class(*_base_and_leaves(model), root=True)  # pyright: ignore[reportAttributeAccessIssue]
    return model


def scores(model: nn.Module) -> list[nn.Parameter]:
    """The scores that learn: what to hand to an optimizer. Empty for methods that do not learn.

    Raises:
        ValueError: the model is not masked.
    """
    return [state.scores for state in record(model).states() if state.scores.requires_grad]


@torch.no_grad()
def codes(model: nn.Module) -> dict[str, Tensor]:
    """The discrete choice as it stands: int8 tensors by the name of the masked tensor, one code per weight.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    chosen = {}
    for group in record(model).groups:
        chosen |= group.method.codes(*group.tensors(group.states))
    return chosen


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Which weights are kept as things stand: boolean tensors by the name of the masked tensor.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    return {name: code != 0 for name, code in codes(model).items()}


@torch.no_grad()
def bake_(model: Model) -> Model:
    """Make a masked model plain again, in place: every masked tensor becomes its effective weight, frozen.

    Returns:
        The model itself, without scores or classes of ours.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    effective = {
        name: nn.Parameter(tensor.detach(), requires_grad=False)
        for group in record(model).groups
        for name, tensor in group.choose().items()
    }
    for module in list(model.modules()):
        module.__class__, leaves = _base_and_leaves(module)
        for leaf in leaves:
            state = module._modules.pop(leaf + "_mask")
            module._parameters[leaf] = effective[state.name]  # pyright: ignore
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
    del model._untrained
    return model


@contextlib.contextmanager
def baked(model: Model) -> Iterator[Model]:
    """A plain dense copy of a masked model, to evaluate at full speed; it shares no memory with the search.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    # The copy needs its own effective weights, not its own frozen weights and scores.
    shared = {id(tensor): tensor for state in record(model).states() for tensor in (state.frozen, state.scores)}
    yield bake_(copy.deepcopy(model, shared))


def record(model: nn.Module) -> Record:
    """What `mask_` noted on the model."""
    if "_untrained" not in vars(model):
        raise ValueError(f"this {type(model).__name__} is not masked: call mask_ on it, or pass the module that was")
    return model._untrained  # pyright: ignore[reportReturnType]


def _matches(where: Where, name: str, parameter: nn.Parameter) -> bool:
    return re.fullmatch(where, name) is not None if isinstance(where, str) else bool(where(name, parameter))


def _choose(
    method: Method | Mapping[str, Method],
    where: Where | None,
    candidates: Mapping[str, nn.Parameter],
    parameters: Mapping[str, nn.Parameter],
) -> dict[str, Method]:
    """The method of each tensor to mask, in the model's order."""
    rules = {".*": method} if isinstance(method, Method) else dict(method)
    unused, chosen = set(rules), {}
    for name, parameter in candidates.items():
        if where is not None and not _matches(where, name, parameter):
            continue
        pattern = next((pattern for pattern in rules if re.fullmatch(pattern, name)), None)
        if pattern is not None:
            chosen[name] = rules[pattern]
            unused.discard(pattern)
    if not chosen:
        raise ValueError(_nothing_matched("where", parameters))
    if unused:
        raise ValueError(_nothing_matched(f"method pattern {min(unused)!r}", parameters))
    return chosen


def _nothing_matched(what: str, parameters: Mapping[str, nn.Parameter]) -> str:
    listed = [f"{name} {tuple(p.shape)}" for name, p in parameters.items()]
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return f"{what} matched nothing that can be masked; the model has {', '.join(listed[:8]) or 'no parameter'}{more}"


def _refuse_owners(name: str, owners: list[tuple[nn.Module, str]]) -> None:
    for owner, leaf in owners:
        if isinstance(owner, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            raise ValueError(f"{name!r} hangs on a {type(owner).__name__}, which would run our child module as a layer")
        if hasattr(owner, leaf + "_mask"):
            raise ValueError(f"{name!r} cannot be masked: its module already has an attribute {leaf + '_mask'!r}")


def _constant_value(owner: nn.Module, leaf: str) -> float | None:
    if "bias" in leaf:
        return 0.0
    return 1.0 if leaf == "weight" and "norm" in type(owner).__name__.lower() else None


def _score_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"scores/{seed}/{name}".encode()).digest()[:8], "little") >> 1


def _attach_state_(owner: nn.Module, leaf: str, state: MaskState) -> None:
    owner._parameters[leaf] = None  # keeps the place, and so the order of the parameters
    owner.add_module(leaf + "_mask", state)
    base, leaves = _base_and_leaves(owner)
    owner.__class__ = _masked_class(base, (*leaves, leaf))


def _base_and_leaves(module: nn.Module) -> tuple[type[nn.Module], tuple[str, ...]]:
    """The class a module had before we masked it, and the names of its masked tensors."""
    return getattr(type(module), "_masked_base", type(module)), getattr(type(module), "_masked_leaves", ())


@functools.cache
def _masked_class(base: type[nn.Module], leaves: tuple[str, ...], root: bool = False) -> type[nn.Module]:
    """The subclass of `base` whose `leaves` are read from their MaskStates. Never mutated, so copies may share it."""

    def reduce_ex(self: nn.Module, protocol: int) -> tuple:
        state = dict(self.__getstate__())  # pyright: ignore[reportArgumentType]
        if isinstance(self, nn.RNNBase):
            # It keeps a list of the tensors it last used, and no copy can be made of those: it will find new ones.
            state["_flat_weights"] = [torch.empty(0) for _ in self._flat_weights_names]
        return _new_masked, (base, leaves, root), state

    properties = {
        leaf: property(functools.partial(lambda leaf, self: self._modules[leaf + "_mask"].effective(), leaf))
        for leaf in leaves
    }
    notes = {"_masked_base": base, "_masked_leaves": leaves, "__reduce_ex__": reduce_ex, "__module__": base.__module__}
    if root:
        # Not hooks: torch.compile runs those in a graph of their own.
        @functools.wraps(base.forward)
        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            _enter_forward(self)
            try:
                return base.forward(self, *args, **kwargs)
            finally:
                _leave_forward(self)

        notes["forward"] = forward
    return type(f"Masked{base.__name__}", (base,), {**properties, **notes})


def _new_masked(base: type[nn.Module], leaves: tuple[str, ...], root: bool) -> nn.Module:
    masked = _masked_class(base, leaves, root)
    return masked.__new__(masked)


def _enter_forward(root: nn.Module) -> None:
    for state in record(root).states():
        state._in_forward, state._computed = True, None
    if torch.compiler.is_compiling():
        for group in record(root).groups:
            if all(type(state.scores) is nn.Parameter for state in group.states):
                computed = group.choose()
                for state in group.states:
                    state._computed = torch.is_grad_enabled(), computed[state.name]


def _leave_forward(root: nn.Module) -> None:
    for state in record(root).states():
        state._in_forward, state._computed = False, None
