"""The plan of `mask_`: the method of each masked tensor, and the use of the others. It changes no model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from untrained.masking.masked_class import masked_class, other_buffers, tensors_of
from untrained.masking.memory import refuse_shared, sha256_of
from untrained.masking.roles import Owners, Role, roles
from untrained.masking.state import Group, Record
from untrained.methods.base import Method
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source

Where = str | Callable[[str, nn.Parameter], bool]
Parameters = Mapping[str, nn.Parameter]


@final
@dataclass(frozen=True)
class Plan:
    """Plan of all changes that `mask_` makes to a model, by the names of its parameters.

    Attributes:
        owners: the modules that hold each parameter.
        parameters: the parameters.
        chosen: the method of each tensor to mask, in the model's order.
        classes: the class that each owner of a masked tensor gets, and each module above one.
        record: the record that stays with the model, its groups still empty.
        surprises: tensors of a matrix's shape that are not masked, described.
    """

    owners: Owners
    parameters: Parameters
    chosen: Mapping[str, Method]
    classes: Mapping[nn.Module, type[nn.Module]]
    record: Record
    surprises: tuple[str, ...]

    @staticmethod
    def of(
        model: nn.Module,
        method: Method | Mapping[str, Method],
        seed: int,
        weights: WeightLaw | Literal["recommended"] | None,
        where: Where | None,
        also_train: Where | None,
    ) -> Plan:
        """Plan the changes of `mask_` to a model, and refuse models on which they would fail.

        Raises:
            ValueError: no tensor matched, or a tensor cannot be masked.
        """
        owners, parameters, its_roles = roles(model)
        held = tensors_of(model)
        refuse_shared(held, other_buffers(model, held))
        trained = _find_trained(also_train, parameters)
        left = {name: role for name, role in its_roles.items() if name not in trained}
        matrices = _find_matrices(method, where, parameters, left)
        chosen = _choose(method, where, matrices, parameters)
        classes = _make_classes(model, owners, chosen)
        law = _recommend_law(chosen) if weights == "recommended" else weights
        drawn = tuple(name for name in matrices if name not in chosen) if law is not None else ()
        constant = {} if law is None else _find_constants(parameters, left, matrices)
        padding = {n: row for n in (*chosen, *drawn) if (row := left[n].padding) is not None and law is not None}
        _refuse_late_errors(chosen, drawn, owners, classes)
        if law is not None:
            _refuse_padding(chosen, padding, law)
        floating = {} if law is not None else {n: parameters[n] for n in left if parameters[n].is_floating_point()}
        own = {name: (p.dtype, sha256_of(p)) for name, p in floating.items()}
        surprises = tuple(
            f"{name!r} {tuple(parameters[name].shape)} ({role.surprise}; "
            f"{'left as it was' if name not in constant else f'frozen at {constant[name]:g}'})"
            for name, role in left.items()
            if role.surprise and name not in matrices
        )
        groups = tuple(Group(each, seed) for each in dict.fromkeys(chosen.values()))
        record = Record(seed, law, groups, drawn, constant, trained, padding, own)
        return Plan(owners, parameters, chosen, classes, record, surprises)

    def warn(self) -> None:
        """Warn of tensors of a matrix's shape that are not masked."""
        if self.surprises:
            message = f"not masked: {_shorten(self.surprises)}; name them in where= to mask them"
            warnings.warn(message, stacklevel=3)


def _find_trained(also_train: Where | None, parameters: Parameters) -> frozenset[str]:
    """Return the names of the parameters that learn as usual."""
    learn = {name: p for name, p in parameters.items() if p.is_floating_point() or p.is_complex()}
    trained = frozenset(n for n, p in learn.items() if also_train is not None and _match(also_train, n, p))
    if also_train is not None and not trained:
        raise _match_error("also_train", parameters)
    return trained


def _find_matrices(
    method: Method | Mapping[str, Method], where: Where | None, parameters: Parameters, left: Mapping[str, Role]
) -> Parameters:
    """Return the tensors that can be masked: every weight, and those that a pattern names in full."""
    patterns = [where] if isinstance(where, str) else list(method) if isinstance(method, Mapping) else []
    spelled = " ".join(re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns)

    def is_spelled_out(name: str) -> bool:
        return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", spelled) is not None

    return {
        name: parameters[name]
        for name, role in left.items()
        if role.kind == "weight"
        or (parameters[name].ndim >= 2 and parameters[name].is_floating_point() and is_spelled_out(name))
    }


def _choose(
    method: Method | Mapping[str, Method], where: Where | None, candidates: Parameters, parameters: Parameters
) -> dict[str, Method]:
    """Return the method of each tensor to mask, in the model's order."""
    if isinstance(method, type) or not isinstance(method, Method | Mapping):
        raise TypeError(
            f"method must be a Method such as EdgePopup(keep=0.5), or patterns with methods; got {method!r}"
        )
    rules = {"(?s:.*)": method} if isinstance(method, Method) else dict(method)
    unused, chosen = set(rules), {}
    for name, parameter in candidates.items():
        if where is not None and not _match(where, name, parameter):
            continue
        pattern = next((pattern for pattern in rules if _match(pattern, name, parameter)), None)
        if pattern is not None:
            chosen[name] = rules[pattern]
            unused.discard(pattern)
    if not chosen:
        raise _match_error("where", parameters)
    if unused:
        raise _match_error(f"method pattern {min(unused)!r}", parameters)
    return chosen


def _match(where: Where, name: str, parameter: nn.Parameter) -> bool:
    if not isinstance(where, str):
        return bool(where(name, parameter))
    try:
        return re.fullmatch(where, name) is not None
    except re.error as error:
        raise ValueError(f"{where!r} is not a regular expression: {error}") from None


def _match_error(what: str, parameters: Parameters) -> ValueError:
    listed = _shorten([f"{name} {tuple(p.shape)}" for name, p in parameters.items()])
    return ValueError(f"{what} must match a tensor that can be masked; the model has {listed or 'no parameter'}")


def _shorten(parts: tuple[str, ...] | list[str]) -> str:
    return ", ".join(parts[:8]) + (f" and {len(parts) - 8} more" if len(parts) > 8 else "")


def _make_classes(model: nn.Module, owners: Owners, chosen: Mapping[str, Method]) -> dict[nn.Module, type[nn.Module]]:
    """Return the class that each owner of a masked tensor gets, and each module above one."""
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


def _recommend_law(chosen: Mapping[str, Method]) -> WeightLaw:
    laws = {str(method.law): method.law for method in chosen.values()}
    if len(laws) > 1:
        raise ValueError(f"weights must be given: the methods recommend {' and '.join(laws)}")
    return next(iter(laws.values()))


def _find_constants(parameters: Parameters, left: Mapping[str, Role], matrices: Parameters) -> dict[str, float]:
    """Return the value of each tensor that is frozen at one: a bias at 0, a norm's scale at 1, others as they are."""
    values = {"bias": 0.0, "norm scale": 1.0}
    constant = {name: values[role.kind] for name, role in left.items() if name not in matrices and role.kind in values}
    for name in left.keys() - matrices.keys() - constant.keys():
        parameter = parameters[name].detach()
        if parameter.is_floating_point() and parameter.numel():
            first = parameter.flatten()[0]
            same = (parameter == first) & (parameter.signbit() == first.signbit())  # 0 is not -0
            if bool(same.all() & first.isfinite()):
                constant[name] = first.item()
    return constant


def _refuse_late_errors(
    chosen: Mapping[str, Method], drawn: tuple[str, ...], owners: Owners, classes: Mapping[nn.Module, type]
) -> None:
    """Refuse models that could be masked and would fail later.

    That is two dtypes ranked together, a whole weight that its module changes, and a replaced forward under a
    method that samples once in a forward pass.
    """
    for method in dict.fromkeys(chosen.values()):
        names = [name for name, its_method in chosen.items() if its_method == method]
        dtypes = {owner._parameters[leaf].dtype for name in names for owner, leaf in owners[name]}  # pyright: ignore
        if method.together and len(dtypes) > 1:
            given = ", ".join(sorted(map(str, dtypes)))
            raise ValueError(f"tensors that {method} ranks together must have one dtype, got {given}")
    for name in drawn:
        if any(getattr(owner, "max_norm", None) is not None for owner, _ in owners[name]):
            raise ValueError(f"{name!r} is changed by its module (max_norm): mask it, or set max_norm to None")
    for name, method in chosen.items():
        if method.samples and any("forward" in vars(module) for module in classes):
            raise ValueError(f"{name!r}: {method} samples once in a forward pass, and a module's forward was replaced")


def _refuse_padding(chosen: Mapping[str, Method], padding: Mapping[str, int], law: WeightLaw) -> None:
    """Refuse a row of padding under a method that cannot drop every weight of it."""
    for name in chosen.keys() & padding.keys():
        method = chosen[name].at(1.0)
        try:
            one = Source(0, name, (1, 1), torch.float32, law)
            method.shown(one, torch.zeros(one.shape, dtype=torch.int8, device="cpu"))
            can_drop = type(method).given is Method.given
        except ValueError:
            can_drop = False
        if not can_drop:
            raise ValueError(
                f"{name!r} has a padding row, which must stay 0, and {type(method).__name__} cannot drop it; "
                "leave it out with where="
            )
