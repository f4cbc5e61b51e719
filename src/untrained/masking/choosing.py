"""Which tensors of a model are masked by which method, and what becomes of the others; nothing is changed here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn

from untrained.masking.roles import Owners, Role
from untrained.methods.base import Method
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source

Where = str | Callable[[str, nn.Parameter], bool]


def matrices(
    method: Method | Mapping[str, Method],
    where: Where | None,
    parameters: Mapping[str, nn.Parameter],
    left: Mapping[str, Role],
) -> dict[str, nn.Parameter]:
    """Return what can be masked: every weight, and what a pattern spells out by its whole name."""
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


def constants(
    parameters: Mapping[str, nn.Parameter], left: Mapping[str, Role], matrices: Mapping[str, nn.Parameter]
) -> dict[str, float]:
    """Return the value of every tensor that is frozen at one: a bias at 0, a norm's scale at 1, others as they are."""
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


def refuse_padding(chosen: Mapping[str, Method], padding: Mapping[str, int], law: WeightLaw) -> None:
    """Refuse a row of padding where the method cannot drop every weight of it."""
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
                f"{name!r} has a padding row, which must stay 0, and {type(method).__name__} does not drop whatever it "
                "is told to; leave it out with where="
            )


def warn_of_surprises(others: Mapping[str, tuple[nn.Parameter, Role]], constant: Mapping[str, float]) -> None:
    told = [
        f"{name!r} {tuple(parameter.shape)} ({role.surprise}; "
        f"{'left as it was' if name not in constant else f'frozen at {constant[name]:g}'})"
        for name, (parameter, role) in others.items()
        if role.surprise
    ]
    if told:
        more = f" and {len(told) - 8} more" if len(told) > 8 else ""
        warnings.warn(f"not masked: {', '.join(told[:8])}{more}; where= masks what it spells out", stacklevel=3)


def recommended(chosen: Mapping[str, Method]) -> WeightLaw:
    laws = {str(method.law): method.law for method in chosen.values()}
    if len(laws) > 1:
        raise ValueError(f"the methods suit different weights, {' and '.join(laws)}: say which with weights=")
    return next(iter(laws.values()))


def also_trained(also_train: Where | None, parameters: Mapping[str, nn.Parameter]) -> frozenset[str]:
    """Return the names of the parameters that learn as usual."""
    learn = {name: p for name, p in parameters.items() if p.is_floating_point() or p.is_complex()}
    trained = frozenset(n for n, p in learn.items() if also_train is not None and _matches(also_train, n, p))
    if also_train is not None and not trained:
        raise ValueError(_nothing_matched("also_train", parameters))
    return trained


def _matches(where: Where, name: str, parameter: nn.Parameter) -> bool:
    if not isinstance(where, str):
        return bool(where(name, parameter))
    try:
        return re.fullmatch(where, name) is not None
    except re.error as error:
        raise ValueError(f"{where!r} is not a regular expression: {error}") from None


def choose(
    method: Method | Mapping[str, Method],
    where: Where | None,
    candidates: Mapping[str, nn.Parameter],
    parameters: Mapping[str, nn.Parameter],
) -> dict[str, Method]:
    """The method of each tensor to mask, in the model's order."""
    if isinstance(method, type) or not isinstance(method, Method | Mapping):
        raise TypeError(
            f"method must be a Method such as EdgePopup(keep=0.5), or patterns with methods; got {method!r}"
        )
    rules = {"(?s:.*)": method} if isinstance(method, Method) else dict(method)
    unused, chosen = set(rules), {}
    for name, parameter in candidates.items():
        if where is not None and not _matches(where, name, parameter):
            continue
        pattern = next((pattern for pattern in rules if _matches(pattern, name, parameter)), None)
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


def refuse_unfit(
    chosen: Mapping[str, Method], drawn: Collection[str], owners: Owners, passes: Collection[nn.Module]
) -> None:
    """Refuse what could be masked, and would go wrong later.

    Raises:
        ValueError: tensors of two dtypes would be ranked together, a whole weight is changed by its own module, or a
            module's forward is not its class's, though its method samples once in a forward pass.
    """
    for method in dict.fromkeys(chosen.values()):
        names = [name for name, its_method in chosen.items() if its_method == method]
        dtypes = {owner._parameters[leaf].dtype for name in names for owner, leaf in owners[name]}  # pyright: ignore
        if method.together and len(dtypes) > 1:
            given = ", ".join(sorted(map(str, dtypes)))
            raise ValueError(f"tensors that {method} ranks together must have one dtype, got {given}")
    for name in drawn:
        if any(getattr(owner, "max_norm", None) is not None for owner, _ in owners[name]):
            raise ValueError(f"{name!r} is changed by its own module (max_norm): mask it, or set max_norm to None")
    for name, method in chosen.items():
        if method.samples and any("forward" in vars(module) for module in passes):
            raise ValueError(f"{name!r}: {method} samples once in a forward pass, and a module's forward was replaced")
