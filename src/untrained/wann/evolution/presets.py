"""Settings of a search: those of the authors, named as their files, and those of `digits` and `table`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

from untrained.fields import check_fields, look_up


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
        cull: fraction of the population that has no children [select_cullRatio].
        elite: fraction of the others that stays unchanged [select_eliteRatio].
        tournament: genomes drawn, of which the best is a parent. The authors' code draws twice [select_tournSize]
            and takes the better, so this is twice their number.

    Example:
        >>> wann.PRESETS["swingup"].population
        192
        >>> wann.Preset(population=64, generations=100, reps=1, tournament=8).mutations["add_node"]
        0.25
    """

    population: int
    generations: int
    reps: int
    tournament: int
    ranked_by_size: float = 0.8
    first_enabled: float = 0.5
    change_activation: float = 0.5
    add_node: float = 0.25
    add_connection: float = 0.2
    enable: float = 0.05
    cull: float = 0.2
    elite: float = 0.2

    _limits: ClassVar = {
        **dict.fromkeys(("population", "generations", "reps", "tournament"), (1, math.inf)),
        **dict.fromkeys(("ranked_by_size", "first_enabled", "cull", "elite"), (0, 1)),
        **dict.fromkeys(("change_activation", "add_node", "add_connection", "enable"), (0, 1)),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        if not sum(self.mutations.values()) > 0:
            raise ValueError(f"mutations must be above 0, one at least, got {self.mutations}")

    @property
    def mutations(self) -> dict[str, float]:
        """The probability of each mutation; a child undergoes exactly one, in proportion."""
        return {name: getattr(self, name) for name in ("change_activation", "add_node", "add_connection", "enable")}


PRESETS = {
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
