"""A Method on any nn.Module: `mask_`, `scores`, `masks`. The library's one mutable shell."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import ParametrizationList

from untrained.masking import choosing
from untrained.masking.choosing import Where
from untrained.masking.masked_class import Group, MaskState, masked_class, other_buffers, tensors_of
from untrained.masking.memory import refuse_shared, sha256_of
from untrained.masking.roles import Owners, roles
from untrained.methods.base import Method
from untrained.weights.laws import WeightLaw, check_seed
from untrained.weights.source import Source

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Record:
    """What `mask_` did to a model: all that is needed, beside the codes, to make its tensors again.

    Attributes:
        seed: what everything is drawn from.
        law: the law of the frozen weights, or None for a pretrained model's own.
        groups: the masked tensors by method.
        drawn: frozen tensors drawn from the seed that are not searched: all of them kept.
        constant: frozen tensors that hold one value: biases 0, norm scales 1, others what they held.
        trained: names of the tensors that learn as usual.
        padding: rows of drawn or masked embeddings that stand for padding, and are zero.
        own: dtype and sha256 of a pretrained model's own frozen tensors; none where a law gives them.
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
        """Return the source of the frozen values of a tensor; its method, as it ends, gives what is kept."""
        return Source.of(weight, name, seed=self.seed, law=self.law, keep=getattr(method, "keep", 1.0))


def mask_(
    model: Model,
    method: Method | Mapping[str, Method],
    *,
    seed: int = 0,
    weights: WeightLaw | Literal["recommended"] | None = "recommended",
    where: Where | None = None,
    also_train: Where | None = None,
) -> Model:
    """Redraw a model's weights from the seed, freeze it, and give its weights scores to learn; in place.

    Weight matrices alone are masked: the weights of torch's layers, and elsewhere floating-point parameters with two or
    more axes longer than 1 that are no bias and no norm's scale. With drawn weights (the default) matrices that `where`
    leaves out are drawn from the seed too and kept whole, biases become 0 and scales of torch's norms 1, an embedding's
    padding row stays 0, and running statistics start anew; everything else (a learned scale, say, in whatever shape)
    stays as it was, frozen. With `weights=None` everything stays as the model had it, frozen. Of a parametrized weight
    the original is masked. `ut.summary` shows what became of every tensor.

    From then on `module.weight` is computed: writing into it changes nothing. Fans are counted from the shape alone, as
    torch does, so that stacked experts of shape (experts, in, out) get a smaller scale than each would alone.

    Args:
        model: any nn.Module; it must not be masked yet.
        method: the method for all masked tensors, or {regular expression: method}, the first that matches a
            tensor's whole name being used and tensors that none matches left unmasked. Equal methods are one, and
            with scope "global" rank their tensors together.
        seed: 0 ≤ seed < 2⁶⁴; gives the weights and the first scores.
        weights: the law of the frozen weights; "recommended": what suits the method (`method.law`, for most signed
            constants); or None to keep the model's own (pretrained) weights.
        where: which tensors are masked: a regular expression for the whole name, or a function of (name,
            parameter). Default: all weight matrices. What else has two or more dimensions is masked when a regular
            expression spells its name out.
        also_train: which parameters learn as usual, unmasked; same spellings. The ticket stores them whole.

    Returns:
        The model itself.

    Raises:
        ValueError: nothing matched, the model is masked already, or a tensor cannot be masked; the model is
            unchanged then.

    Warns:
        UserWarning: a tensor of a matrix's shape is not masked, for a reason that is not plain to see.

    Source: Ramanujan et al. 2019, section 3 (no biases, norm without scale and shift, weights never trained).
    """
    seed = check_seed(seed)
    if _is_compiled(model):
        raise ValueError("the model is compiled already: mask it first, then compile what mask_ returns")
    if any(isinstance(module, MaskState) for module in model.modules()):
        raise ValueError("the model is masked already; bake_ it first, or build it anew")
    owners, parameters, its_roles = roles(model)
    held = tensors_of(model)
    refuse_shared(held, other_buffers(model, held))
    trained = choosing.also_trained(also_train, parameters)
    left = {name: role for name, role in its_roles.items() if name not in trained}
    matrices = choosing.matrices(method, where, parameters, left)
    chosen = choosing.choose(method, where, matrices, parameters)
    classes = _masked_classes(model, owners, chosen)
    law = choosing.recommended(chosen) if weights == "recommended" else weights
    drawn = tuple(name for name in matrices if name not in chosen) if law is not None else ()
    constant = {} if law is None else choosing.constants(parameters, left, matrices)
    padding = {n: row for n in (*chosen, *drawn) if (row := left[n].padding) is not None and law is not None}
    choosing.refuse_unfit(chosen, drawn, owners, classes)
    if law is not None:
        choosing.refuse_padding(chosen, padding, law)
    groups = {its_method: Group(its_method, seed) for its_method in chosen.values()}
    floating = {n: parameters[n] for n in left if parameters[n].is_floating_point()}
    own = {} if law is not None else {name: (p.dtype, sha256_of(p)) for name, p in floating.items()}
    record = Record(seed, law, tuple(groups.values()), drawn, constant, trained, padding, own)

    def freeze(name: str) -> Tensor:
        final = groups[chosen[name]].final if name in chosen else None
        source = record.source(name, parameters[name], final)
        return source.draw() if final is None else final.frozen(source)

    if law is None:
        for name in chosen:
            freeze(name)  # a method that needs several draws refuses, before anything is changed
    first_scores = {}
    for name, its_method in chosen.items():
        generator = torch.Generator().manual_seed(_score_seed(seed, name))
        first_scores[name] = its_method.init_scores(parameters[name].detach(), generator)

    choosing.warn_of_surprises({n: (parameters[n], r) for n, r in left.items() if n not in matrices}, constant)

    for name, its_method in chosen.items():
        frozen, group = _place_(parameters[name], freeze(name)), groups[its_method]
        shape, row = parameters[name].shape, padding.get(name)
        group.states.append(MaskState(name, shape, frozen, first_scores.pop(name), group, row))
        group.states[-1].clear_padding_()
    for name in drawn:
        _place_(parameters[name], freeze(name))
        if name in padding:
            parameters[name].detach()[padding[name]] = 0
    if law is not None:
        _reset_(model, parameters, constant)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    for state in record.states:
        for owner, leaf in owners[state.name]:
            owner._parameters[leaf] = None  # keeps the place, and so the order of the parameters
            owner._modules[leaf + "_mask"] = state
    vars(model)["_untrained"] = record  # not by way of the module's own __setattr__
    for owner, cls in classes.items():
        object.__setattr__(owner, "__class__", cls)
    return model


def scores(model: nn.Module) -> list[nn.Parameter]:
    """The scores that learn: what to hand to an optimizer. Empty for methods that do not learn.

    Raises:
        ValueError: the model is not masked.
    """
    return [state.scores for state in record(model).states if state.group.method.learns]


@torch.no_grad()
def codes(model: nn.Module) -> dict[str, Tensor]:
    """The discrete choice as it stands: int8 tensors by the name of the masked tensor, one code per weight.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    chosen = {}
    for group in record(model).groups:
        group.check_handed_out()
        chosen |= group.codes()
    return chosen


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Which weights are kept as things stand: boolean tensors by the name of the masked tensor.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    return {name: code != 0 for name, code in codes(model).items()}


def is_masked(model: nn.Module) -> bool:
    """Whether `mask_` was called on this very module."""
    return "_untrained" in vars(model)


def record(model: nn.Module) -> Record:
    """What `mask_` noted on the model."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected the masked model, got {type(model).__name__}")
    if not is_masked(model):
        raise ValueError(f"this {type(model).__name__} is not masked: call mask_ on it, or pass the module that was")
    return model._untrained  # pyright: ignore[reportReturnType]


def candidates(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that `mask_` masks by default, by name."""
    _, parameters, its_roles = roles(model)
    return {name: parameters[name] for name, role in its_roles.items() if role.kind == "weight"}


def _is_compiled(model: nn.Module) -> bool:
    compiler = sys.modules.get("torch._dynamo")  # it takes seconds to import, and whoever compiles has done so
    return compiler is not None and isinstance(model, compiler.OptimizedModule)


def _masked_classes(model: nn.Module, owners: Owners, chosen: Mapping[str, Method]) -> dict[nn.Module, type[nn.Module]]:
    """The class that each owner of a chosen tensor will get, and the root; made before anything is changed."""
    within = {owner for name in chosen for owner, _ in owners[name]}
    leaves: dict[nn.Module, tuple[str, ...]] = {m: () for m in model.modules() if not within.isdisjoint(m.modules())}
    for name in chosen:
        for owner, leaf in owners[name]:
            runs_children = isinstance(owner, nn.Sequential | nn.ModuleList | nn.ModuleDict)
            if runs_children and not isinstance(owner, ParametrizationList):
                raise ValueError(
                    f"{name!r} hangs on a {type(owner).__name__}, which would run our child module as a layer; "
                    "leave it out with where="
                )
            if hasattr(owner, leaf + "_mask"):
                raise ValueError(f"{name!r} cannot be masked: its module already has an attribute {leaf + '_mask'!r}")
            leaves[owner] = (*leaves.get(owner, ()), leaf)
    try:
        return {owner: masked_class(type(owner), its, owner is model) for owner, its in leaves.items()}
    except TypeError as error:
        raise ValueError(f"a module's class cannot be subclassed: {error}") from None


@torch.no_grad()
def _place_(parameter: nn.Parameter, frozen: Tensor) -> Tensor:
    """What is frozen, on the parameter's device, and in its own memory if it is one value per weight."""
    if frozen.shape != parameter.shape:
        return frozen.to(parameter.device)
    if frozen.data_ptr() != parameter.data_ptr():
        parameter.copy_(frozen)
    return parameter


@torch.no_grad()
def _reset_(model: nn.Module, parameters: Mapping[str, nn.Parameter], constant: Mapping[str, float]) -> None:
    """Fill every constant, and forget the running statistics."""
    for name, value in constant.items():
        parameters[name].fill_(value)
    for module in model.modules():
        if isinstance(module, _NormBase):
            module.reset_running_stats()


def _score_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"scores/{seed}/{name}".encode()).digest()[:8], "little") >> 1
