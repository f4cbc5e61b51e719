"""Networks that a user brings, by a text: `FILE.py:NAME` or those of libraries, with arguments in brackets.

A ticket's `meta` keeps a network's description under the key "model", from which nothing of it is run.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained.own_code import spelled

KEY = "model"
"""The key of the description in a ticket's `meta`."""


class Brought(ABC):
    """Network that is none of `untrained.models`."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Its name and arguments, as `--model` takes them."""
        return spelled(self.name, self.arguments)

    @abstractmethod
    def describe(self, shape: Sequence[int], classes: int) -> dict[str, Any]:
        """Return what a ticket keeps of it, JSON-able."""

    @abstractmethod
    def make(self, shape: Sequence[int], classes: int, *, pretrained: bool) -> nn.Module:
        """Return a new network for inputs of a shape, with weights that torch's generator or a pretraining gives.

        Raises:
            ValueError: it cannot be built.
        """

    def example(self, shape: Sequence[int]) -> Tensor:
        """Return inputs (2, *shape) to try it with, where there are no data."""
        return torch.zeros(2, *shape)

    @torch.no_grad()
    def build(
        self,
        shape: Sequence[int],
        classes: int,
        example: Tensor | None = None,
        *,
        seed: int = 0,
        pretrained: bool = False,
        accept: Callable[[Any], None] | None = None,
    ) -> nn.Module:
        """Return a new network that takes the data's inputs and has an output for each class.

        Args:
            shape: of one input.
            classes: number of classes.
            example: inputs (batch, *shape) to try; None: those of `example`.
            seed: of what it draws; torch's generator is as it was afterwards.
            pretrained: with the weights of a pretraining.
            accept: a function that raises a ValueError if outputs do not fit; None: they must be (batch, classes, …).

        Raises:
            ValueError: it cannot be built, or takes or gives something else.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.make(shape, classes, pretrained=pretrained)
            x = self.example(shape) if example is None else example
            modes = {module: module.training for module in network.modules()}
            try:
                output = network.eval()(x)  # which also gives lazy layers their shapes
            except Exception as error:  # a forward pass may raise errors of any class
                reason = " ".join(str(error).split())[:300]
                raise ValueError(
                    f"{self.text}: its network cannot take inputs of shape {tuple(x.shape)}: "
                    f"{type(error).__name__}: {reason}"
                ) from error
            for module, mode in modes.items():
                module.training = mode
        if accept is not None:
            try:
                accept(output)
            except ValueError as error:
                raise ValueError(f"{self.text}: {error}") from error
            return network
        wanted = (len(x), classes)
        if not isinstance(output, Tensor) or tuple(output.shape[:2]) != wanted:
            got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise ValueError(f"{self.text}: its network must give a tensor {wanted}, a number a class, got {got}")
        return network


@final
@dataclass(frozen=True)
class Description:
    """Description of a brought network, as the `meta` of a ticket has it; nothing in it is trusted.

    Attributes:
        name, arguments: as of `Brought`.
        sha256: of the code; "" for a network of a library.
        shape: of one input.
        classes: number of classes.
        config: the configuration of a network of transformers.
    """

    name: str
    arguments: Mapping[str, Any]
    sha256: str
    shape: tuple[int, ...]
    classes: int
    config: Mapping[str, Any]

    @staticmethod
    def of(meta: Mapping[str, Any]) -> Description | None:
        """Return the description in a ticket's `meta`; None if there is none, or something else of this name."""
        kinds = {"name": str, "arguments": dict, "sha256": str, "shape": list, "classes": int, "config": dict}
        if not isinstance(found := meta.get(KEY), dict):
            return None
        found = {"sha256": "", "config": {}} | found
        if any(type(found.get(field)) is not kind for field, kind in kinds.items()):
            return None
        shape, classes = found["shape"], found["classes"]
        if any(type(side) is not int or not 0 < side < 1 << 24 for side in [*shape, classes]) or len(shape) > 8:
            return None
        return Description(found["name"], found["arguments"], found["sha256"], tuple(shape), classes, found["config"])

    @property
    def text(self) -> str:
        """Its name and arguments, as `--model` takes them."""
        return spelled(self.name, self.arguments)

    @property
    def words(self) -> str:
        """Its name and arguments, its classes, and the shape of its inputs."""
        return f"{self.text} for {self.classes} classes of inputs {self.shape}"

    @property
    def flag(self) -> str:
        """The flag that gives it."""
        return f"--model {shlex.quote(self.text)}"
