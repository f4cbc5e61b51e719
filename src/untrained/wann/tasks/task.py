"""Tasks: the rewards that networks are searched, chosen and reported by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net

Part = Literal["train", "validation", "test"]
# One seed gives other numbers for every part: networks are not chosen or reported by data of the search.
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class Task(ABC):
    """Base class of tasks, which reward networks; a higher reward is better.

    A subclass sets `name`, `inputs` and `outputs`, and defines `rewards` and `identity`. It can be pickled: a search
    may evaluate it on other threads, processes or machines. `untrained.testing.check_task` checks all this.

    Example:
        >>> class Sum(wann.Task):  # reward: the sum of the outputs for the input 1
        ...     name, inputs, outputs, identity = "sum", 1, 1, lambda self: {}
        ...     def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        ...         return torch.tensor([[networks.net(0)([[1.0]], w).sum() for w in weights]]).numpy()
        >>> Sum().rewards(wann.Packed.of([wann.Net(1, 1, act=[1], edge_ptr=[0, 1], src=[1])]), (0.5, 2.0), seed=0)
        array([[0.5, 2. ]])
    """

    #: Name in files and on screen.
    name: str
    #: Description of how the data were read.
    about: str = ""
    #: Number of inputs of a network.
    inputs: int
    #: Number of outputs of a network.
    outputs: int
    #: Names of the inputs, for pictures.
    input_names: tuple[str, ...] | None = None
    #: Names of the activations that a search uses.
    activations: tuple[str, ...] = NAMES[:10]
    #: True if evaluations let other threads run; otherwise workers are processes.
    frees_threads: bool = True
    #: Heading of `scores`.
    measure: str = "reward"
    #: Greatest reward that there can be, for tables and axes; None: it is not known.
    most: float | None = None
    #: True if `scores` depend on the seed.
    by_chance: bool = True

    @abstractmethod
    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        """Return the reward of every network at every shared weight.

        It is a pure function of its arguments: neither the other networks nor threads matter.

        Args:
            networks: P networks; their tuned weights, if they have any, are multiplied by the shared one.
            weights: V shared weights.
            seed: of random start states or batches of examples; the same for all networks.
            reps: episodes to average over.
            part: "train" to search by, "validation" to choose by, "test" to report.

        Returns:
            float64 (P, V); NaN or infinite where a network broke down.

        Raises:
            ValueError: there is no such part.
        """

    def scores(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> np.ndarray:
        """Return the figures that are reported of networks, by default the rewards; arguments as for `rewards`."""
        return self.rewards(networks, weights, seed, reps=reps, part=part)

    def measures(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> dict[str, np.ndarray]:
        """Return further figures of the episodes of `rewards`, which tables show beside the reward; by default none.

        Arguments as for `rewards`. A name has its unit, such as "upright (s)"; its figures are means over the episodes,
        float64 (P, V), NaN where a network broke down. Searches do not use them, and they are no part of `identity`.
        """
        return {}

    def scores_and_measures(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return `scores` and `measures`; a task that can play an episode once for both overrides it."""
        scores = self.scores(networks, weights, seed, reps=reps, part=part)
        return scores, self.measures(networks, weights, seed, reps=reps, part=part)

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the identity of the task, JSON-able: a checkpoint is only resumed on the same task."""

    def check(self, networks: Packed) -> None:
        """Refuse networks that have other inputs or outputs than the task, with a ValueError."""
        sizes, expected = (networks.inputs, networks.outputs), (self.inputs, self.outputs)
        if sizes != expected:
            raise ValueError(f"{self.name}: networks must have {expected} inputs and outputs, got {sizes}")

    def finished(self, net: Net) -> Net:
        """Return a network ready for use outside of a search: with scaling of inputs and names of classes."""
        return net


def seeds_of(seed: int, part: Part, reps: int) -> np.ndarray:
    """Return the seeds of the repetitions of a part, int64 (reps,).

    Raises:
        ValueError: there is no such part, or reps is below 1.
    """
    if reps < 1:
        raise ValueError(f"reps must be at least 1, got {reps}")
    return part_seed(seed, part) + np.arange(reps)


def part_seed(seed: int, part: Part) -> int:
    """Return the first of 2²⁰ seeds of 31 bits for the repetitions of a part; other parts have others.

    Raises:
        ValueError: there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    words = np.random.SeedSequence([seed, PARTS.index(part)]).generate_state(1, np.uint64)
    return (PARTS.index(part) << 29) + int(words[0] % ((1 << 29) - (1 << 20)))
