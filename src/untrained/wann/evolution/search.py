"""The search for weight agnostic networks: evaluate at several shared weights, rank, breed (Gaier & Ha 2019)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.wann.evolution import checkpoint
from untrained.wann.evolution.front import CHOOSING, Found, front_of
from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.presets import Preset, preset_named
from untrained.wann.evolution.ranking import fronts, ranked
from untrained.wann.evolution.state import State
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.tasks.task import Task

Row = dict[str, Any]

_CHECK_EVERY = 16  # generations between two choices on validation data
_CANDIDATES = 16  # networks of each island that are then looked at
_CHECK_REPS = 8  # episodes per weight for a choice: what one generation has is luck
_BIG = 1 << 63


@final
class Search:
    """A search, generation by generation. What it finds depends on task, settings and seed alone.

    ```python
    search = Search(swing_up(), preset="swingup", seed=0)
    search.run(200)
    search.best.net.save("net.json")
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
        for what, number in (("seed", seed), ("islands", islands)):
            if not isinstance(number, int | np.integer):
                raise ValueError(f"{what}: got {number!r}, expected a whole number")
        if islands < 1 or migrate_every < 0 or restart_after < 0 or not len(weights):
            raise ValueError("a search needs at least one island and one weight, and no negative number of generations")
        if not 0 <= seed < _BIG:
            raise ValueError(f"seed: got {seed}, expected in [0, 2**63)")
        if 0 < restart_after <= _CHECK_EVERY:
            raise ValueError(
                f"restart_after: got {restart_after}, expected 0 or above {_CHECK_EVERY}, between two looks"
            )
        if not np.isfinite(weights).all():
            raise ValueError(f"weights: got {tuple(weights)}, expected finite numbers")
        if not task.activations:
            raise ValueError(f"{task.name}: has no activations to choose from")
        self._activations = ids_of(task.activations)
        if not AVAILABLE:
            warnings.warn(
                "numba is not installed: networks are evaluated with numpy, some hundred times slower "
                "(pip install 'untrained[wann]')",
                stacklevel=2,
            )
        self.seed, self.islands, self.weights = int(seed), islands, tuple(float(w) for w in weights)
        self.migrate_every, self.restart_after = migrate_every, restart_after
        self.official_quirks = official_quirks
        self.evaluator = Evaluator(task, workers)
        self.rows: list[Row] = []
        none = np.full(islands, -np.inf), np.zeros(islands, np.int64)
        self.state = State(self._first(range(islands), 0), 0, (), *none, ())
        # The state after a look at its networks, which must not steer how a resumed search goes on.
        self._outcome = self.state
        self._asked: tuple[Packed, np.ndarray] | None = None

    @property
    def front(self) -> tuple[Found, ...]:
        """The networks that none beats that is not bigger, from the smallest to the best, chosen on validation data."""
        return self._outcome.front

    @property
    def best(self) -> Found:
        """The network with the highest reward on validation data, as of the last look.

        A look comes every 16 generations, at the end of `run`, and by `look`.

        Raises:
            ValueError: no generation has passed, or every network broke down.
        """
        if not self.front:
            raise ValueError("nothing was found yet: no generation has passed, or every network broke down")
        return self.front[-1]

    @property
    def choosing_weights(self) -> tuple[float, ...]:
        """16 shared weights, spread evenly over the range of the search's, at which networks are chosen."""
        return tuple((max(map(abs, self.weights)) * CHOOSING).tolist())

    @property
    def attempts(self) -> tuple[float, ...]:
        """The best reward of every attempt: of those that a restart ended, then of the islands as they are."""
        return (*self._outcome.ended, *self._outcome.island_best.tolist())

    def ask(self) -> Packed:
        """The networks of this generation, island after island, to be told the rewards of."""
        if self._asked is None:
            self._asked = self.state.population.expressed(disabled_stay=self.official_quirks)
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
        switched_on, state, rewards = self._asked[1], self.state, np.asarray(rewards, float)
        if rewards.shape != (len(networks), len(self.weights)):
            raise ValueError(f"rewards: got {rewards.shape}, expected {(len(networks), len(self.weights))}")
        mean = _means(rewards)
        sound = mean > -np.inf
        best = int(mean.argmax())
        row: Row = {
            "generation": state.generation,
            "best": float(mean[best]) if sound[best] else None,
            "mean": float((mean[sound] / sound.sum()).sum()) if sound.any() else None,
            "connections": int(networks.connections[best]),
            "broken": int((~sound).sum()),
        }
        if state.generation % _CHECK_EVERY == 0:
            state = self._checked(state, networks, mean, switched_on)
            row["front"] = [[each.net.connections, each.reward] for each in state.front]
        if state.front:
            row |= {"chosen": state.front[-1].reward, "chosen_connections": state.front[-1].net.connections}
        orders = [self._order(island, rewards, sound, switched_on) for island in range(self.islands)]
        state = replace(state, population=self._bred(orders), generation=state.generation + 1)
        # All at once: an interruption leaves either the old state or the new one.
        self.state, self._asked = self._restarted(state), None
        self._outcome = self.state
        self.rows.append(row)
        return row

    def step(self) -> Row:
        """One generation: ask, evaluate, tell."""
        start = time.perf_counter()
        row = self.tell(self._rewards())
        row["seconds"] = round(time.perf_counter() - start, 4)
        return row

    def run(
        self,
        generations: int | None = None,
        *,
        seconds: float | None = None,
        callbacks: Iterable[Callable[[Search, Row], None]] = (),
    ) -> tuple[Found, ...]:
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
            while self.state.generation < generations and time.monotonic() < stop:
                row = self.step()
                for callback in callbacks:
                    callback(self, row)
            self.look()
        return self.front

    def look(self) -> None:
        """Choose among the networks of this generation, too, for `front`, `best` and `attempts`."""
        mean = _means(self._rewards())
        assert self._asked is not None
        self._outcome = self._checked(self.state, self.ask(), mean, self._asked[1])

    @property
    def generation_seed(self) -> int:
        """Of what is random in this generation's rewards, the same for all its networks."""
        words = np.random.SeedSequence([self.seed, self.state.generation]).generate_state(1, np.uint64)
        return int(words[0] >> 1)

    def _rewards(self) -> np.ndarray:
        return self.evaluator.rewards(self.ask(), self.weights, self.generation_seed, reps=self.preset.reps)

    def resume(self, state: State, rows: Sequence[Row]) -> None:
        """Go on from a state that a search of the same plan had."""
        self.rows, self._asked = list(rows), None
        self.state = self._outcome = state

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint and the metrics into a folder, each whole or not at all.

        Raises:
            OSError: they cannot be written.
        """
        checkpoint.save(Path(folder), self.plan(), self.state, self.rows)

    def restore(self, folder: str | Path) -> None:
        """Bring this search to where the one of a folder stopped; it then goes on to the same bits.

        Raises:
            ValueError: the checkpoint is damaged, or of another task or other settings; nothing is changed by then.
        """
        self.resume(*checkpoint.load(Path(folder), self.plan(), self.state))

    def plan(self) -> dict[str, Any]:
        """What a search must have in common with this one to go on with it, JSON-able."""
        return {
            "task": self.task.identity(),
            "preset": asdict(self.preset),
            "seed": self.seed,
            "islands": self.islands,
            "migrate_every": self.migrate_every,
            "restart_after": self.restart_after,
            "weights": list(self.weights),
            "official_quirks": self.official_quirks,
        }

    def _first(self, islands: Iterable[int], generation: int) -> Population:
        task, size = self.task, self.preset.population
        genes = (task.inputs + 1) * task.outputs
        draws = [self._draws(generation, island, size * genes, first=True) for island in islands]
        uniform = np.concatenate(draws).reshape(-1, genes)
        return Population.first(task.inputs, task.outputs, len(uniform), self.preset.first_enabled, uniform)

    def _draws(self, generation: int, island: int, count: int, *, first: bool = False) -> np.ndarray:
        """Uniform numbers in [0, 1) of an island and generation: no other island, thread or worker matters."""
        key = [self.seed, (generation << 17) | (island << 1) | first]
        return (np.random.Philox(key=key).random_raw(count) >> np.uint64(11)) * 2.0**-53

    def _island(self, number: int) -> np.ndarray:
        size = self.preset.population
        return np.arange(number * size, (number + 1) * size)

    def _order(self, island: int, rewards: np.ndarray, sound: np.ndarray, switched_on: np.ndarray) -> np.ndarray:
        """Numbers of an island's networks from best to worst."""
        rows = self._island(island)
        good = rows[sound[rows]]
        mean = rewards[good].mean(1)
        by_size = self._draws(self.state.generation, island, 1)[0] < self.preset.ranked_by_size
        second = 1.0 / np.maximum(switched_on[good], 1) if by_size else rewards[good].max(1)
        order = ranked(mean, second, official_crowding=self.official_quirks)
        return np.concatenate([good[order], rows[~sound[rows]]])

    def _bred(self, orders: Sequence[np.ndarray]) -> Population:
        preset, generation = self.preset, self.state.generation
        size = preset.population
        living = size - int(preset.cull * size)
        elites = int(living * preset.elite)
        migrates = self.islands > 1 and self.migrate_every > 0 and (generation + 1) % self.migrate_every == 0
        parents, mutate, draws = [], [], []
        for island, order in enumerate(orders):
            # The first number has decided what the generation was ranked by.
            uniform = self._draws(generation, island, 1 + 4 * size + (size - elites) * preset.tournament)[1:]
            entrants = (uniform[4 * size :].reshape(size - elites, preset.tournament) * living).astype(np.int64)
            chosen = np.concatenate([order[:elites], order[entrants.min(1)]])
            changed = np.arange(size) >= elites
            if migrates:
                chosen[-1], changed[-1] = orders[island - 1][0], False
            parents.append(chosen)
            mutate.append(changed)
            draws.append(uniform[: 4 * size].reshape(size, 4))
        return self.state.population.children(
            np.concatenate(parents), np.concatenate(mutate), np.concatenate(draws), preset, self._activations
        )

    def _restarted(self, state: State) -> State:
        """The state with first populations where an island has found nothing better for long."""
        stuck = np.flatnonzero(state.generation - state.island_since >= self.restart_after)
        if not self.restart_after or not len(stuck):
            return state
        rows = np.concatenate([self._island(int(island)) for island in stuck])
        best, since = state.island_best.copy(), state.island_since.copy()
        ended = (*state.ended, *best[stuck].tolist())
        best[stuck], since[stuck] = -np.inf, state.generation
        population = state.population.replaced(rows, self._first(stuck.tolist(), state.generation))
        return replace(state, population=population, island_best=best, island_since=since, ended=ended)

    def _checked(self, state: State, networks: Packed, mean: np.ndarray, switched_on: np.ndarray) -> State:
        """The state after a look at the best of each island with what chooses."""
        candidates = np.concatenate([self._candidates(island, mean, switched_on) for island in range(self.islands)])
        if not len(candidates):
            return state
        reps = max(_CHECK_REPS, self.preset.reps)
        chosen = networks.chosen(candidates)
        rewards = self.evaluator.rewards(chosen, self.choosing_weights, self.seed, reps=reps, part="validation")
        best, since, found = state.island_best.copy(), state.island_since.copy(), list(state.front)
        for place in np.flatnonzero(_means(rewards) > -np.inf).tolist():
            island = candidates[place] // self.preset.population
            each = Found(self.task.finished(chosen.net(place)), tuple(rewards[place].tolist()))
            found.append(each)
            if each.reward > best[island]:
                best[island], since[island] = each.reward, state.generation
        return replace(state, front=front_of(found), island_best=best, island_since=since)

    def _candidates(self, island: int, mean: np.ndarray, switched_on: np.ndarray) -> np.ndarray:
        """The best few by mean reward of an island's front of reward against connections."""
        rows = self._island(island)
        rows = rows[np.isfinite(mean[rows])]
        first = rows[fronts(mean[rows], 1.0 / np.maximum(switched_on[rows], 1)) == 0]
        return first[np.argsort(-mean[first], kind="stable")][:_CANDIDATES]


def _means(rewards: np.ndarray) -> np.ndarray:
    """Mean reward of each network over the weights; -inf where it broke down."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rewards.mean(1)
    return np.where(np.isfinite(rewards).all(1) & np.isfinite(mean), mean, -np.inf)
