"""What a network is to be good at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net

Part = Literal["train", "validation", "test"]
# One seed gives other numbers for every part, so that what is chosen or reported was never searched on.
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class Task(ABC):
    """Rewards for networks; higher is better.

    A task can be pickled: a search may evaluate it on other threads, processes or machines.
    """

    #: What it is called, in files and on screen.
    name: str
    #: How its data were read, for people to check.
    about: str = ""
    #: Inputs and outputs of a network for it.
    inputs: int
    outputs: int
    #: What the inputs are, for pictures.
    input_names: tuple[str, ...] | None = None
    #: The activations that a search uses for it.
    activations: tuple[str, ...] = NAMES[:10]
    #: Whether an evaluation lets other threads run meanwhile; otherwise workers are processes.
    frees_threads: bool = True
    #: What `scores` measures, as a heading, and whether a repetition of the same network gives another one.
    measure: str = "reward"
    by_chance: bool = True

    @abstractmethod
    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        """The reward of every network at every shared weight.

        A pure function of its arguments: neither the other networks nor threads matter.

        Args:
            networks: P networks; their own weights, if they have any, are multiplied by the shared one.
            weights: V shared weights.
            seed: of what is random: start states, or which examples; the same for all networks.
            reps: episodes to average over.
            part: what the rewards are for: to search by, to choose by, or to report.

        Returns:
            float64 (P, V); NaN or infinite where a network broke down.

        Raises:
            ValueError: there is no such part.
        """

    def scores(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> np.ndarray:
        """What is reported of networks, where that is not the reward itself; as `rewards`."""
        return self.rewards(networks, weights, seed, reps=reps, part=part)

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What makes it this task and no other, JSON-able: a checkpoint is only resumed on the same task."""

    def check(self, networks: Packed) -> None:
        """Raise ValueError if the networks have other inputs or outputs than the task."""
        given, expected = (networks.inputs, networks.outputs), (self.inputs, self.outputs)
        if given != expected:
            raise ValueError(f"{self.name}: got networks with {given} inputs and outputs, expected {expected}")

    def finished(self, net: Net) -> Net:
        """A network with all that it needs outside of a search: how to scale inputs, names of classes."""
        return net


def part_seed(seed: int, part: Part) -> int:
    """The first of 2²⁰ seeds of 31 bits for the repetitions of a part; no other part has one of them.

    Raises:
        ValueError: there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part: got {part!r}, expected one of {', '.join(PARTS)}")
    words = np.random.SeedSequence([seed, PARTS.index(part)]).generate_state(1, np.uint64)
    return (PARTS.index(part) << 29) + int(words[0] % ((1 << 29) - (1 << 20)))
