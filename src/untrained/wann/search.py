"""The search for weight agnostic networks: evaluate at several shared weights, rank, breed (Gaier & Ha 2019)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from untrained.wann.activations import ids_of
from untrained.wann.archive import Found, Front
from untrained.wann.evaluation import Evaluator
from untrained.wann.genome import Population
from untrained.wann.packed import WEIGHTS, Packed
from untrained.wann.presets import Preset, preset_named
from untrained.wann.ranking import ranked
from untrained.wann.task import Task

Row = dict[str, float | int]

_CHECK_EVERY = 16  # generations between two choices on validation data
_CANDIDATES = 8  # networks of each island that are then looked at
_CHECK_REPS = 16  # episodes per weight for a choice: what one generation has is luck
_BIG = 1 << 63


@final
class Search:
    """A search, generation by generation. What it finds depends on task, settings and seed alone.

    ```python
    search = Search(swing_up(), preset="swingup", seed=0)
    front = search.run(200)
    front.best.net.save("net.json")
    ```

    Args:
        task: what networks are to be good at.
        preset: settings, or the name of some.
        seed: of everything random.
        islands: populations that evolve apart.
        migrate_every: generations after which each island sends its best to the next; 0: never.
        restart_after: generations after which an island that found nothing better begins anew; 0: never.
        weights: the shared weights that a network must do well at.
        workers: threads, or processes for a task that keeps threads waiting; whatever joblib backend is active is used.
        official_quirks: as the authors' code: connections between hidden nodes work on when switched off, and crowding
            distances of the two objectives are not brought to one scale.

    Raises:
        ValueError: a setting is not valid.
    """

    def __init__(
        self,
        task: Task,
        preset: Preset | str = "default",
        *,
        seed: int = 0,
        islands: int = 1,
        migrate_every: int = 0,
        restart_after: int = 0,
        weights: Sequence[float] = WEIGHTS,
        workers: int = 1,
        official_quirks: bool = False,
    ) -> None:
        self.task = task
        self.preset = preset_named(preset) if isinstance(preset, str) else preset
        if islands < 1 or migrate_every < 0 or restart_after < 0 or not len(weights):
            raise ValueError("a search needs at least one island and one weight, and no negative number of generations")
        if not 0 <= seed < _BIG:
            raise ValueError(f"seed: got {seed}, expected in [0, 2**63)")
        self.seed, self.islands, self.weights = seed, islands, tuple(float(w) for w in weights)
        self.migrate_every, self.restart_after = migrate_every, restart_after
        self.official_quirks = official_quirks
        self.evaluator = Evaluator(task, workers)
        self.generation = 0
        self.front = Front()
        self.rows: list[Row] = []
        self.population = self._first(range(islands))
        # Per island: the best reward of its validated networks, and the generation that found it.
        self.island_best = np.full(islands, -np.inf)
        self.island_since = np.zeros(islands, np.int64)
        self._asked: tuple[Packed, np.ndarray] | None = None

    def ask(self) -> Packed:
        """The networks of this generation, island after island, to be told the rewards of."""
        if self._asked is None:
            self._asked = self.population.expressed(disabled_stay=self.official_quirks)
        return self._asked[0]

    def tell(self, rewards: np.ndarray) -> Row:
        """Rank and breed by the rewards of what `ask` gave.

        Args:
            rewards: (P, V); a network with a NaN or infinite one ranks last.

        Returns:
            What the generation was like.

        Raises:
            ValueError: the shape is wrong.
        """
        networks = self.ask()
        assert self._asked is not None
        switched_on = self._asked[1]
        if rewards.shape != (len(networks), len(self.weights)):
            raise ValueError(f"rewards: got {rewards.shape}, expected {(len(networks), len(self.weights))}")
        sound = np.isfinite(rewards).all(1)
        mean = np.where(sound, np.where(sound[:, None], rewards, 0).mean(1), -np.inf)
        best = int(mean.argmax())
        row: Row = {
            "generation": self.generation,
            "best": float(mean[best]) if sound[best] else float("nan"),
            "mean": float(mean[sound].mean()) if sound.any() else float("nan"),
            "connections": int(networks.connections[best]),
            "broken": int((~sound).sum()),
        }
        orders = [self._order(island, rewards, sound, switched_on) for island in range(self.islands)]
        if self.generation % _CHECK_EVERY == 0:
            self._check(networks, mean, switched_on)
        if len(self.front):
            row["chosen"] = self.front.best.reward
            row["chosen_connections"] = self.front.best.net.connections
        self._breed(orders)
        self.generation += 1
        self._asked = None
        self.rows.append(row)
        return row

    def step(self) -> Row:
        """One generation: ask, evaluate, tell."""
        start = time.perf_counter()
        networks = self.ask()
        seed = self.seed + self.generation
        rewards = self.evaluator.rewards(networks, self.weights, seed, reps=self.preset.reps)
        row = self.tell(rewards)
        row["seconds"] = round(time.perf_counter() - start, 4)
        return row

    def run(
        self,
        generations: int | None = None,
        *,
        seconds: float | None = None,
        callbacks: Iterable[Callable[[Search, Row], None]] = (),
    ) -> Front:
        """Go on until a generation or a time is reached.

        Args:
            generations: how many the search is to have had in all; None: as the preset says.
            seconds: stop after so many, too.
            callbacks: called with the search and the row of each generation.

        Returns:
            The front: networks chosen by validation data, or by seeds that the search does not use.
        """
        generations = self.preset.generations if generations is None else generations
        stop = time.monotonic() + (float("inf") if seconds is None else seconds)
        callbacks = tuple(callbacks)
        with self.evaluator:
            while self.generation < generations and time.monotonic() < stop:
                row = self.step()
                for callback in callbacks:
                    callback(self, row)
            self.look()
        return self.front

    def look(self) -> None:
        """Choose among the networks of this generation, whatever its number."""
        networks = self.ask()
        assert self._asked is not None
        rewards = self.evaluator.rewards(networks, self.weights, self.seed + self.generation, reps=self.preset.reps)
        mean = np.where(np.isfinite(rewards).all(1), rewards.mean(1), -np.inf)
        self._check(networks, mean, self._asked[1])

    def plan(self) -> dict[str, Any]:
        """What a search must have in common with this one to go on with it, JSON-able."""
        return {
            "task": self.task.identity(),
            "preset": dataclasses.asdict(self.preset),
            "seed": self.seed,
            "islands": self.islands,
            "migrate_every": self.migrate_every,
            "restart_after": self.restart_after,
            "weights": list(self.weights),
            "official_quirks": self.official_quirks,
        }

    def _first(self, islands: Iterable[int]) -> Population:
        genes = (self.task.inputs + 1) * self.task.outputs
        size = self.preset.population
        draws = np.concatenate([self._draws(island, size * genes, first=True) for island in islands])
        enabled = self.preset.first_enabled
        rows = len(draws) // genes
        return Population.first(self.task.inputs, self.task.outputs, rows, enabled, draws.reshape(rows, genes))

    def _draws(self, island: int, count: int, *, first: bool = False) -> np.ndarray:
        """Uniform numbers in [0, 1) of an island and generation: no other island, thread or worker matters."""
        key = [self.seed, (self.generation << 17) | (island << 1) | first]
        return (np.random.Philox(key=key).random_raw(count) >> np.uint64(11)) * 2.0**-53

    def _order(self, island: int, rewards: np.ndarray, sound: np.ndarray, switched_on: np.ndarray) -> np.ndarray:
        """Numbers of an island's networks from best to worst."""
        size = self.preset.population
        rows = np.arange(island * size, (island + 1) * size)
        good = rows[sound[rows]]
        mean = rewards[good].mean(1)
        by_size = self._draws(island, 1)[0] < self.preset.ranked_by_size
        second = 1.0 / np.maximum(switched_on[good], 1) if by_size else rewards[good].max(1)
        order = ranked(mean, second, official_crowding=self.official_quirks)
        return np.concatenate([good[order], rows[~sound[rows]]])

    def _breed(self, orders: Sequence[np.ndarray]) -> None:
        preset = self.preset
        size = preset.population
        living = size - int(preset.cull * size)
        elites = int(living * preset.elite)
        parents, mutate, draws = np.empty(0, np.int64), np.empty(0, bool), np.empty((0, 4))
        migrates = self.migrate_every and (self.generation + 1) % self.migrate_every == 0 and self.islands > 1
        for island, order in enumerate(orders):
            uniform = self._draws(island, 1 + 4 * size + (size - elites) * preset.tournament)[1:]
            entrants = (uniform[4 * size :].reshape(size - elites, preset.tournament) * living).astype(np.int64)
            chosen = np.concatenate([order[:elites], order[entrants.min(1)]])
            changed = np.arange(size) >= elites
            if migrates:
                chosen[-1], changed[-1] = orders[island - 1][0], False
            parents, mutate = np.concatenate([parents, chosen]), np.concatenate([mutate, changed])
            draws = np.concatenate([draws, uniform[: 4 * size].reshape(size, 4)])
        activations = ids_of(self.task.activations)
        self.population = self.population.children(parents, mutate, draws, preset, activations)
        self._restart()

    def _restart(self) -> None:
        if not self.restart_after:
            return
        stuck = np.flatnonzero(self.generation - self.island_since >= self.restart_after)
        if len(stuck):
            size = self.preset.population
            rows = (stuck[:, None] * size + np.arange(size)).ravel()
            self.population = self.population.replaced(rows, self._first(stuck))
            self.island_best[stuck], self.island_since[stuck] = -np.inf, self.generation

    def _check(self, networks: Packed, mean: np.ndarray, switched_on: np.ndarray) -> None:
        """Evaluate the best of each island on what chooses, and take them into the front."""
        numbers = []
        size = self.preset.population
        for island in range(self.islands):
            rows = np.arange(island * size, (island + 1) * size)
            rows = rows[np.isfinite(mean[rows])]
            order = ranked(mean[rows], 1.0 / np.maximum(switched_on[rows], 1))
            # The front's best by reward first, not the two ends of it.
            numbers.append(rows[order][np.argsort(-mean[rows[order]], kind="stable")][:_CANDIDATES])
        candidates = np.concatenate(numbers)
        if not len(candidates):
            return
        reps = max(_CHECK_REPS, self.preset.reps)
        chosen = networks.chosen(candidates)
        rewards = self.evaluator.rewards(chosen, self.weights, self.seed, reps=reps, part="validation")
        found = [
            (number // size, Found(self.task.finished(chosen.net(place)), tuple(rewards[place].tolist())))
            for place, number in enumerate(candidates)
            if np.isfinite(rewards[place]).all()
        ]
        self.front.update(each for _, each in found)
        for island, each in found:
            if each.reward > self.island_best[island]:
                self.island_best[island], self.island_since[island] = each.reward, self.generation
