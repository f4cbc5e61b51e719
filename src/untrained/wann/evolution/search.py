"""The search for weight agnostic networks: evaluate at several shared weights, rank, breed (Gaier & Ha 2019)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.terminal.extras import install_command
from untrained.wann.evolution import checkpoint
from untrained.wann.evolution.archive import choose_from_archive
from untrained.wann.evolution.front import CHOOSING, Found, pareto_front
from untrained.wann.evolution.generation import Generation
from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.memory import Memory
from untrained.wann.evolution.presets import Preset, preset_named
from untrained.wann.evolution.ranking import choose_parents, mean_rewards, order_networks
from untrained.wann.evolution.state import State
from untrained.wann.evolution.validation import Validation
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.tasks.task import Task

Row = dict[str, Any]

_CHOOSE_EVERY = 16  # generations between two choices on validation data
_SEEDS = 1 << 63


@final
class Search:
    """A search, generation by generation. Its result depends on task, settings and seed alone.

    Args:
        task: the task that rewards networks.
        preset: settings, or the name of a preset.
        seed: the seed of all random numbers.
        islands: populations that evolve separately.
        migrate_every: generations after which each island sends its best to the next; 0: never.
        restart_after: generations without a better network after which an island starts anew; 0: never.
        weights: the shared weights that a network must do well at.
        workers: threads, or processes for a task that keeps threads waiting; or the cluster that evaluates networks:
            "dask:ADDRESS" or "ray:ADDRESS"; "dask" or "ray": the package's own choice, this machine if nothing is set.
            None: one thread or one per core, whichever measures quicker, again and again; or a process per core.
        official_quirks: as the authors' code: connections between hidden nodes work on when switched off, and crowding
            distances of the two objectives are not brought to one scale.

    Raises:
        ImportError: a cluster's package is not installed.
        ValueError: a setting is not valid.

    Example:
        >>> preset = wann.Preset(population=8, generations=3, reps=1, tournament=2)
        >>> search = wann.Search(wann.digits(), preset, seed=0)
        >>> front = search.run()
        >>> len(search.rows), search.best.net.outputs
        (3, 10)
        >>> search.best.net.save("net.json")
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
        workers: int | str | None = 1,
        official_quirks: bool = False,
    ) -> None:
        self.task = task
        self.preset = preset_named(preset) if isinstance(preset, str) else preset
        for name, number in (("seed", seed), ("islands", islands)):
            if not isinstance(number, int | np.integer):
                raise ValueError(f"{name} must be a whole number, got {number!r}")
        if not 0 <= seed < _SEEDS:
            raise ValueError(f"seed must be in [0, 2**63), got {seed}")
        for name, number, least in (("islands", islands, 1), ("migrate_every", migrate_every, 0)):
            if number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        if restart_after < 0 or 0 < restart_after <= _CHOOSE_EVERY:
            raise ValueError(
                f"restart_after must be 0 or above {_CHOOSE_EVERY}, the generations between two choices, "
                f"got {restart_after}"
            )
        if not len(weights) or not np.isfinite(weights).all():
            raise ValueError(f"weights must be finite numbers, one at least, got {tuple(weights)}")
        if not task.activations:
            raise ValueError(f"activations of {task.name} must be one at least, got none")
        if not AVAILABLE:
            warnings.warn(
                "numba is not installed: networks are evaluated with numpy, some hundred times slower "
                f"({install_command('wann')})",
                stacklevel=2,
            )
        self._activations = ids_of(task.activations)
        self.seed, self.islands, self.weights = int(seed), islands, tuple(float(w) for w in weights)
        self.migrate_every, self.restart_after, self.official_quirks = migrate_every, restart_after, official_quirks
        self.evaluator = Evaluator(task, workers)
        self._validation = Validation(self.evaluator, self.choosing_weights, self.seed, self.preset.reps)
        self.rows: list[Row] = []
        none = np.full(islands, -np.inf), np.zeros(islands, np.int64)
        first = self._first_population(range(islands), 0)
        self.state = State(first, 0, (), *none, (), np.zeros(len(first), bool), Memory())
        # The state after `look`, kept apart from `state`: a call of `look` must not change the search.
        self._outcome = self.state
        self._asked: Generation | None = None

    @property
    def front(self) -> tuple[Found, ...]:
        """The Pareto front of reward against number of connections, by size, chosen on validation data."""
        return self._outcome.front

    @property
    def best(self) -> Found:
        """The network with the highest reward on validation data, as of the last choice.

        Networks are chosen every 16 generations, at the end of `run`, and by `look`.

        Raises:
            ValueError: no generation has passed, or every network broke down.
        """
        if not self.front:
            raise ValueError("there is no best network yet: no generation has passed, or every network broke down")
        return self.front[-1]

    @property
    def choosing_weights(self) -> tuple[float, ...]:
        """The 16 shared weights at which networks are chosen, spread evenly over the range of the search's."""
        return tuple((max(map(abs, self.weights)) * CHOOSING).tolist())

    @property
    def attempts(self) -> tuple[float, ...]:
        """The best reward of every attempt: first of attempts that a restart ended, then of the present islands."""
        return (*self._outcome.ended, *self._outcome.island_best.tolist())

    def ask(self) -> Packed:
        """Return this generation's networks, island after island; pass their rewards to `tell`."""
        return self._generation.networks

    def tell(self, rewards: np.ndarray) -> Row:
        """Rank this generation's networks by their rewards and breed the next generation.

        Of equal networks on an island the rewards of the first one count. The preset "archive" remembers rewards: new
        ones of a network that it has seen count only if that has survived from the generation before.

        Args:
            rewards: (P, V), of the networks that `ask` returned; one with a NaN or infinite reward ranks last.

        Returns:
            The metrics of this generation.

        Raises:
            ValueError: the shape is wrong.
        """
        state, generation = self.state, self._generation
        memory, rewards = generation.judge(np.asarray(rewards, float), len(self.weights))
        mean = mean_rewards(rewards)
        works = mean > -np.inf
        best = int(mean.argmax())
        row: Row = {
            "generation": state.generation,
            "best": float(mean[best]) if works[best] else None,
            "mean": float((mean[works] / works.sum()).sum()) if works.any() else None,
            "connections": int(generation.networks.connections[best]),
            "broken": int((~works).sum()),
            "evaluated": len(generation.new),
        }
        if state.generation % _CHOOSE_EVERY == 0:
            state = self._choose(state, generation, rewards)
            row["front"] = [[each.net.connections, each.reward] for each in state.front]
        if state.front:
            row |= {"chosen": state.front[-1].reward, "chosen_connections": state.front[-1].net.connections}
        if self.preset.selection == "archive":  # the authors judge a network by one generation alone
            state = replace(state, memory=memory.settled())
        state = replace(self._breed(state, rewards), generation=state.generation + 1)
        # All at once: an interruption leaves either the old state or the new one.
        self.state, self._asked = self._restart(state), None
        self._outcome = self.state
        self.rows.append(row)
        return row

    def step(self) -> Row:
        """Ask, evaluate the networks that count, and tell: one generation."""
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
        """Search until a generation or a time is reached, and return the front.

        Args:
            generations: number of generations in all, from the first; None: that of the preset.
            seconds: time after which to stop, too.
            callbacks: called with the search and the row of each generation.
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
        _, rewards = self._generation.judge(self._rewards(), len(self.weights))
        self._outcome = self._choose(self.state, self._generation, rewards)

    @property
    def generation_seed(self) -> int:
        """The seed for evaluating this generation, shared by all its networks."""
        words = np.random.SeedSequence([self.seed, self.state.generation]).generate_state(1, np.uint64)
        return int(words[0] >> 1)

    def resume(self, state: State, rows: Sequence[Row]) -> None:
        """Resume from a state of a search with the same plan."""
        self.rows, self._asked = list(rows), None
        self.state = self._outcome = state

    def save(self, folder: str | Path) -> None:
        """Write a checkpoint and the metrics into a folder, each whole or not at all.

        Raises:
            OSError: they cannot be written.
        """
        checkpoint.save(Path(folder), self.plan(), self.state, self.rows)

    def restore(self, folder: str | Path) -> None:
        """Resume from the checkpoint in a folder, to the same bits as the search that wrote it.

        Raises:
            ValueError: the checkpoint is damaged, or of another task or other settings; the search is unchanged then.
        """
        self.resume(*checkpoint.load(Path(folder), self.plan(), self.state))

    def plan(self) -> dict[str, Any]:
        """Return the settings that a search must share with this one to resume its checkpoint, JSON-able."""
        names = ("seed", "islands", "migrate_every", "restart_after", "weights", "official_quirks")
        settings = {name: getattr(self, name) for name in names}
        return {"task": self.task.identity(), "preset": asdict(self.preset), **settings}

    @property
    def _generation(self) -> Generation:
        if self._asked is None:
            self._asked = Generation.of(self.state, self.islands, disabled_stay=self.official_quirks)
        return self._asked

    def _rewards(self) -> np.ndarray:
        return self._generation.evaluate(self.evaluator, self.weights, self.generation_seed, self.preset.reps)

    def _first_population(self, islands: Iterable[int], generation: int) -> Population:
        task, size = self.task, self.preset.population
        genes = (task.inputs + 1) * task.outputs
        draws = [self._draw(generation, island, size * genes, first=True) for island in islands]
        uniform = np.concatenate(draws).reshape(-1, genes)
        return Population.first(task.inputs, task.outputs, len(uniform), self.preset.first_enabled, uniform)

    def _draw(self, generation: int, island: int, count: int, *, first: bool = False) -> np.ndarray:
        """Draw uniform numbers in [0, 1) that depend on seed, generation and island alone."""
        key = [self.seed, (generation << 17) | (island << 1) | first]
        return (np.random.Philox(key=key).random_raw(count) >> np.uint64(11)) * 2.0**-53

    def _breed(self, state: State, rewards: np.ndarray) -> State:
        """Return the state with the next population."""
        preset, generation, size = self.preset, state.generation, self.preset.population
        switched_on = self._generation.switched_on
        best, parents, mutate, draws, again = [], [], [], [], []
        for island in range(self.islands):
            uniform = self._draw(generation, island, 1 + (9 + preset.tournament) * size)
            rows = np.arange(island * size, (island + 1) * size)
            first, chosen, changed = self._choose_parents(rewards[rows], switched_on[rows], uniform)
            best.append(rows[first])
            parents.append(rows[chosen])
            mutate.append(changed)
            draws.append(uniform[1 : 1 + 4 * size].reshape(size, 4))
            again.append(uniform[-5 * size :].reshape(size, 5))
        if self.islands > 1 and self.migrate_every and (generation + 1) % self.migrate_every == 0:
            for island in range(self.islands):
                parents[island][-1], mutate[island][-1] = best[island - 1], False
        parent, changed, more = np.concatenate(parents), np.concatenate(mutate), np.concatenate(again)
        born = state.population.children(parent, changed, np.concatenate(draws), preset, self._activations)
        if (twice := changed & (more[:, 4] < preset.second_change)).any():
            born = born.children(np.arange(len(born)), twice, more[:, :4].copy(), preset, self._activations)
        return replace(state, population=born, survivors=~changed)

    def _choose_parents(
        self, rewards: np.ndarray, switched_on: np.ndarray, uniform: np.ndarray
    ) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the best of an island, the parent of each child, and True if the child is mutated."""
        preset, rest = self.preset, uniform[1 + 4 * self.preset.population :]
        if preset.selection == "archive":
            parents, changed = choose_from_archive(rewards, switched_on, rest)
            return int(parents[0]), parents, changed
        by_size = bool(uniform[0] < preset.ranked_by_size)
        order = order_networks(rewards, switched_on, by_size, official_crowding=self.official_quirks)
        return int(order[0]), *choose_parents(order, rest, preset)

    def _restart(self, state: State) -> State:
        """Return the state with a first population on each island that has found no better network for long."""
        stuck = np.flatnonzero(state.generation - state.island_since >= self.restart_after)
        if not self.restart_after or not len(stuck):
            return state
        anew = np.isin(np.arange(len(state.population)) // self.preset.population, stuck)
        best, since = state.island_best.copy(), state.island_since.copy()
        ended = (*state.ended, *best[stuck].tolist())
        best[stuck], since[stuck] = -np.inf, state.generation
        first = self._first_population(stuck.tolist(), state.generation)
        population, stay = state.population.replaced(np.flatnonzero(anew), first), state.survivors & ~anew
        return replace(state, population=population, survivors=stay, island_best=best, island_since=since, ended=ended)

    def _choose(self, state: State, generation: Generation, means: np.ndarray) -> State:
        """Return the state with the best of each island, by validation rewards, in its front."""
        share, found = self.preset.best_counts, list(state.front)
        candidates = generation.promising(means, self.islands, share)
        if not len(candidates):
            return state
        chosen = generation.networks.chosen(candidates)
        rewards = self._validation.rewards(chosen, [generation.names[number] for number in candidates])
        best, since = state.island_best.copy(), state.island_since.copy()
        for place in np.flatnonzero(mean_rewards(rewards) > -np.inf).tolist():
            island = candidates[place] // self.preset.population
            net, scores = self.task.finished(chosen.net(place)), tuple(rewards[place].tolist())
            each = Found(net, scores, share)
            found.append(each)
            if each.reward > best[island]:
                best[island], since[island] = each.reward, state.generation
        return replace(state, front=pareto_front(found), island_best=best, island_since=since)
