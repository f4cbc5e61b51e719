"""Everything that a trained opponent shares with the trained twin: its first weights, its recipe and its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from untrained.masking.roles import roles
from untrained.methods.recipe import WEIGHTS, Recipe
from untrained.models.registry import Network
from untrained.search.checkpoint import holds_run
from untrained.search.epoch import SizedBatches
from untrained.search.fit import fit

Weights = Mapping[str, Tensor]
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@torch.no_grad()
def start_(network: NetworkT, seed: int) -> NetworkT:
    """Give a network the weights that torch's layers draw, from a generator that no other thread uses.

    One that is none of `untrained.models` keeps those that its code drew.
    """
    if not isinstance(network, Network):
        return network
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        start = torch.empty(parameter.shape, device="cpu")
        parameter.copy_(nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator))
    return network


def weights_of(network: nn.Module) -> Weights:
    """Return the weight matrices of a network by their first name, without biases and scales of norms.

    Raises:
        ValueError: there is none.
    """
    _, parameters, found = roles(network)
    weights = {name: parameter for name, parameter in parameters.items() if found[name].kind == "weight"}
    if not weights:
        raise ValueError(f"a {type(network).__name__} has no weight matrix to store in fewer bits")
    return weights


@final
class Constrained(nn.Module):
    """Network whose weights are a function of those that learn, and of the share of the training that is done.

    A forward pass while training is a step, counted in a buffer, so that a checkpoint resumes at the right one.

    Args:
        network: a plain network; its parameters learn.
        constrain: a function from its weight matrices and the share done, 0..1, to those of the forward pass.
        steps: forward passes of the whole training.
    """

    step: Tensor

    def __init__(self, network: nn.Module, constrain: Callable[[Weights, float], Weights], steps: int) -> None:
        super().__init__()
        self.network, self.constrain, self.steps = network, constrain, steps
        paths, owners = {module: path for path, module in network.named_modules()}, roles(network)[0]
        # All modules that use a weight, each once: torch's own search for ties breaks modules that have two paths.
        self.places = {
            name: [f"{paths[module]}.{leaf}".lstrip(".") for module, leaf in owners[name]]
            for name in weights_of(network)
        }
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device="cpu"))

    def forward(self, x: Any) -> Any:
        weights = {name: self.network.get_parameter(name) for name in self.places}
        used = self.constrain(weights, min(1.0, int(self.step) / self.steps))
        if self.training:
            self.step += 1
        placed = {place: used[name] for name, places in self.places.items() for place in places}
        return functional_call(self.network, placed, (x,), tie_weights=False)


@final
@dataclass(frozen=True)
class Course:
    """Network, data and budget of the trained twin, for its opponents.

    Attributes:
        build: a function that returns the untrained network, that many times as wide.
        train, val: batches; those of `val` choose nothing.
        epochs: passes over `train` of the twin.
        seed: seed of the first weights and of random numbers drawn while learning.
        folder: the folder of checkpoints and metrics; a training that was interrupted there resumes.
        amp: compute in bfloat16.
        recipe: that of the twin.
        choices: its loss and metric, as `fit` takes them.
    """

    build: Callable[[float], nn.Module]
    train: SizedBatches
    val: Any
    epochs: int
    seed: int
    folder: Path
    amp: bool = False
    recipe: Recipe = WEIGHTS
    choices: Mapping[str, Any] = field(default_factory=dict)

    def network(self, width: float = 1.0) -> nn.Module:
        """Return the network with the twin's first weights."""
        return start_(self.build(width), self.seed)

    def fit(
        self, network: nn.Module, constrain: Callable[[Weights, float], Weights] | None = None, *, stage: str = ""
    ) -> float:
        """Train the weights of a network in place for all epochs, and return the seconds.

        Args:
            network: a plain network.
            constrain: as of `Constrained`; None: the weights themselves.
            stage: a name for each of several trainings; that of the last is empty.
        """
        steps = self.epochs * len(self.train)
        model, folder = network if constrain is None else Constrained(network, constrain, steps), self.folder / stage
        options: dict[str, Any] = {
            **self.choices,
            "recipe": self.recipe,
            "amp": self.amp,
            "seed": self.seed,
            "out": folder,
            "resume": holds_run(folder),
        }
        history = fit(model, self.train, self.val, epochs=self.epochs, title=None, **options)
        return sum(history.column("seconds"))
