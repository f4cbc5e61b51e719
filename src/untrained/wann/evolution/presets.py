"""Settings of a search: those of the authors, named as their files, and ours: `archive`, `digits` and `table`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from untrained.fields import check_fields, look_up

_MUTATIONS = ("add_connection", "add_node", "enable", "disable", "change_activation")


@final
@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a search (Gaier & Ha 2019, supplement; the authors' names in brackets).

    Args:
        population: networks per generation [popSize].
        generations: number of generations [maxGen].
        reps: episodes per network and shared weight [alg_nReps].
        ranked_by_size: probability that a generation is ranked by mean reward and number of connections; otherwise by
            mean and best reward [alg_probMoo].
        first_enabled: probability that a connection from an input to an output is there at first [prob_initEnable].
        change_activation: probability that a child is its parent with another activation [prob_mutAct].
        add_node: … with a node on a connection [prob_addNode].
        add_connection: … with a new connection [prob_addConn].
        enable: … with a connection switched on again [prob_enable].
        disable: … with a connection switched off; the authors have no such mutation.
        second_change: probability that a changed child is changed once more; 0 in the authors' code.
        cull: fraction of the population that has no children [select_cullRatio].
        elite: fraction of the others that stays unchanged [select_eliteRatio].
        tournament: genomes drawn, of which the best is a parent. The authors' code draws twice [select_tournSize]
            and takes the better, so this is twice their number.
        selection: "pareto", as the authors: fronts of two objectives, then tournaments; or "archive": the best of every
            size by every criterion survive, with rewards averaged over their generations, and have all children. Then
            ranked_by_size, cull, elite and tournament have no meaning.
        best_counts: how much the reward at the best weight counts where the network is chosen, from 0, the mean over
            all weights, to 1, the best weight alone.

    Example:
        >>> wann.PRESETS["swingup"].population
        192
        >>> wann.Preset(population=64, generations=100, reps=1, tournament=8).mutations["add_node"]
        0.25
    """

    population: int
    generations: int
    reps: int
    tournament: int = 1
    ranked_by_size: float = 0.8
    first_enabled: float = 0.5
    change_activation: float = 0.5
    add_node: float = 0.25
    add_connection: float = 0.2
    enable: float = 0.05
    disable: float = 0.0
    second_change: float = 0.0
    cull: float = 0.2
    elite: float = 0.2
    selection: Literal["pareto", "archive"] = "pareto"
    best_counts: float = 0.0

    _limits: ClassVar = {
        **dict.fromkeys(("population", "generations", "reps", "tournament"), (1, math.inf)),
        **dict.fromkeys(("ranked_by_size", "first_enabled", "cull", "elite", "second_change", "best_counts"), (0, 1)),
        **dict.fromkeys(_MUTATIONS, (0, 1)),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        if not sum(self.mutations.values()) > 0:
            raise ValueError(f"mutations must be above 0, one at least, got {self.mutations}")

    @property
    def mutations(self) -> dict[str, float]:
        """The probability of each mutation; a child undergoes exactly one, in proportion."""
        return {name: getattr(self, name) for name in _MUTATIONS}


PRESETS = {
    "archive": Preset(
        population=192,
        generations=1024,
        reps=4,
        selection="archive",
        change_activation=0.45,
        add_node=0.225,
        add_connection=0.18,
        enable=0.045,
        disable=0.1,
        second_change=0.3,
        best_counts=0.5,
    ),
    "default": Preset(population=128, generations=2048, reps=4, tournament=16),
    "swingup": Preset(population=192, generations=1024, reps=3, tournament=16),
    "laptop_swing": Preset(population=64, generations=1024, reps=3, tournament=8, elite=0.05),
    "biped": Preset(population=480, generations=2048, reps=4, tournament=32, first_enabled=0.25),
    "mnist256": Preset(population=960, generations=4096, reps=1, tournament=64, first_enabled=0.05),
    "table": Preset(population=480, generations=1024, reps=1, tournament=64),
    "digits": Preset(population=480, generations=1024, reps=1, tournament=64, first_enabled=0.05),
}
"""All presets by name. `Search` takes such a name as `preset`."""


def preset_named(name: str) -> Preset:
    """Return a preset by its name, or raise ValueError."""
    return look_up("preset", PRESETS, name)
