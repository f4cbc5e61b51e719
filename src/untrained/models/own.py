"""Networks that a user's code gives, and any brought network by its text."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from untrained.models.brought import Brought
from untrained.models.libraries import of_library
from untrained.own_code import OwnCode, arguments, is_code, parse

_OFFERED = "shape", "classes"


@final
@dataclass(frozen=True)
class OwnNetwork(Brought):
    """Network that a user's function or class gives, called with the arguments that it has names for.

    Attributes:
        name: its name, the file without its folder.
        arguments: those in the brackets; `shape` and `classes` are the data's where they are not there.
        code: the function or class.
    """

    name: str
    arguments: Mapping[str, Any]
    code: OwnCode

    def describe(self, shape: Sequence[int], classes: int) -> dict[str, Any]:
        facts = {"name": self.name, "arguments": dict(self.arguments), "sha256": self.code.sha256}
        return facts | {"shape": list(shape), "classes": classes}

    def make(self, shape: Sequence[int], classes: int, *, pretrained: bool) -> nn.Module:
        try:
            signature = inspect.signature(self.code.value)
        except ValueError:  # of a class in C
            signature = inspect.Signature()
        offered = dict(zip(_OFFERED, (tuple(shape), classes), strict=True))
        given = {name: value for name, value in offered.items() if name in signature.parameters} | {**self.arguments}
        try:
            signature.bind(**given)
        except TypeError as error:
            raise ValueError(
                f"{self.text}: {error}; it is given arguments in brackets, and shape and classes where it has them"
            ) from None
        try:
            network = self.code.value(**given)
        except Exception as error:  # a file may raise errors of any class
            raise ValueError(f"{self.text} raised {type(error).__name__}: {error}") from error
        if not isinstance(network, nn.Module):
            raise ValueError(f"{self.text} must return an nn.Module, got {type(network).__name__}")
        if "untrained_built" in vars(network):
            raise ValueError(f"{self.text} must return a new network at every call, got the same one again")
        vars(network)["untrained_built"] = True
        return network


def brought(text: str) -> Brought | None:
    """Return the network of a user that a text names, which imports its file; None for a name of `NETWORKS`.

    Raises:
        ValueError, FileNotFoundError: as `OwnCode.of`; or the arguments in brackets cannot be read.
    """
    if not is_code(text):
        return None
    name, given = parse(text, arguments)
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"{text}: arguments must be words, numbers, True, False, None or lists") from None
    if (found := of_library(name, given)) is not None:
        return found
    code = OwnCode.of(name)
    return OwnNetwork(code.name, given, code)


def refuse_shared(one: nn.Module, other: nn.Module) -> None:
    """Raise a ValueError if two networks share a module or a parameter: masking one would change the other."""
    theirs = {id(part): name for name, part in (*other.named_modules(), *other.named_parameters())}
    for name, part in (*one.named_modules(), *one.named_parameters()):
        if id(part) in theirs:
            raise ValueError(
                f"the function of a network must build all of it anew at every call, and two of its networks share "
                f"{name or theirs[id(part)] or 'everything'!r}"
            )
