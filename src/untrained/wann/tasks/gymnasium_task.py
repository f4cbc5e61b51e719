"""Gymnasium environments as tasks: every simulator that Python can call."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal, final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.numerics.jit import compiled
from untrained.wann.numerics.vector_math import activate
from untrained.wann.tasks import envpool_backend, gymnasium_backend
from untrained.wann.tasks.episodes import Episodes
from untrained.wann.tasks.task import Part, Task, part_seed

Backend = Literal["auto", "gymnasium", "envpool"]
BACKENDS = ("auto", "gymnasium", "envpool")


@compiled
def forward_rows(node_ptr, edge_ptr, src, act, weight, which, shared, observations, outputs):
    """outputs[r] ← network which[r] at the shared weight shared[r] and the inputs observations[r].

    The first five are the arrays of `Packed`; the others int64 (R,) and float64 (R,), (R, inputs), (R, outputs). Sums
    run in the order of the sources. A row takes about 0.5 µs for 50 connections, 2 µs for 250.
    """
    inputs, results = observations.shape[1], outputs.shape[1]
    nodes = np.empty(inputs + 1 + np.max(np.diff(node_ptr)))
    nodes[0] = 1.0
    for r in range(observations.shape[0]):
        nodes[1 : inputs + 1] = observations[r]
        at = inputs + 1
        for k in range(node_ptr[which[r]], node_ptr[which[r] + 1]):
            total = 0.0
            for e in range(edge_ptr[k], edge_ptr[k + 1]):
                total += nodes[src[e]] * weight[e] if weight.shape[0] else nodes[src[e]]
            nodes[at] = total
            # A vector of one costs a row 0.1 to 0.5 µs more than a scalar would; a simulator's step takes 7 to 200 µs.
            activate(act[k], nodes[at : at + 1], shared[r : r + 1], 0.0, 0.5, 1.0)
            at += 1
        outputs[r] = nodes[at - results : at]


@final
class GymEnv(Task):
    """An environment of Gymnasium by its id, such as `GymEnv("BipedalWalker-v3")`.

    Observations are a flat Box. Outputs become actions so:

    - Discrete(n): n outputs, and the biggest one wins; ties go to the lowest.
    - Box: an output per number. Where both bounds are finite, the output is cut to [-1, 1] and scaled linearly onto
      [low, high]; where one is, it is cut there; where none is, it stays as it is.

    An episode is its seed and its network, nothing else: episode r has the same seed for all networks and weights, and
    by default a new environment. As soon as one ends, the next takes its place; none is stepped in vain. When an
    output is no finite number, the simulator never sees the action, and the reward is NaN. Observations and rewards
    that are not finite are an error of the environment; only where actions have no bounds may a network be at fault,
    and its reward is NaN, too.

    Backend "envpool" simulates in C++ (BipedalWalker-v3: about three times the steps per second). Its environments are
    rewritten ones, and the start states of a seed are others, though again the same for all networks. "auto" takes it
    where it is installed, knows the id, and there are no options; so rewards may differ between machines, and
    `identity` says which backend it was.

    Python holds its lock in most simulators, so parallel workers are processes. Environments of your own: give their
    ids as "module:Name-v0", so that any process can import them.

    Args:
        id: of the environment, with its version.
        n_envs: how many run side by side in one process.
        max_steps: an episode ends after so many; None: the limit that the environment is registered with.
        backend: "gymnasium", "envpool" or "auto".
        reuse: keep environments between episodes (backend "gymnasium"). Quicker where making one is slow, such as
            MuJoCo's; but some remember the episode before: BipedalWalker-v3 keeps its Box2D world, and rewards then
            depend on what ran earlier.
        options: for `gymnasium.make`, or the configuration of envpool.

    Raises:
        ImportError: Gymnasium, envpool or what the environment needs is not installed.
        TypeError: `id` is no text; an environment made already is in this process alone.
        ValueError: there is no such environment, its spaces, limit or options are not supported, or its first reset or
            step raises or returns what does not fit them. `rewards` raises it for any later one.
    """

    frees_threads = False

    def __init__(
        self,
        id: str,
        *,
        n_envs: int = 32,
        max_steps: int | None = None,
        backend: Backend = "auto",
        reuse: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(id, str):
            spec = getattr(getattr(id, "spec", None), "id", None) or "module:Name-v0"
            raise TypeError(
                f"GymEnv takes the id of an environment, got a {type(id).__name__}; workers make environments of their "
                f"own: register yours with gymnasium.register in a module, and pass {spec!r}"
            )
        if n_envs < 1 or (max_steps is not None and max_steps < 1):
            raise ValueError(f"{id}: got {n_envs} environments and {max_steps} steps, expected at least 1 of each")
        if backend not in BACKENDS:
            raise ValueError(f"backend: got {backend!r}, expected one of {', '.join(BACKENDS)}")
        self.id, self.name = id, f"gym:{id}"
        self.n_envs, self.reuse, self.options = n_envs, reuse, options
        self.backend = _chosen_backend(id, backend, options)
        if self.backend == "envpool":
            self._spec = None
            seen, acted, limit = envpool_backend.described(id, max_steps, options)
        else:
            self._spec, seen, acted, limit = gymnasium_backend.described(id, max_steps, options)
        self.inputs, self.outputs, self._actions = _fitted(id, seen, acted)
        if limit is None:
            raise ValueError(
                f"{id}: its episodes may never end; give max_steps (--max-steps), or register it with max_episode_steps"
            )
        self.max_steps = limit
        self._keep_idle()
        if self.backend == "gymnasium":
            self._try_out()

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        if reps < 1:
            raise ValueError(f"reps: got {reps}, expected at least 1")
        return self._play(networks, weights, part_seed(seed, part), reps)[0].mean(2)

    def steps(self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1) -> int:
        """How many steps all episodes of `rewards` take: what the speed of an evaluation is measured in."""
        return int(self._play(networks, weights, part_seed(seed, "train"), reps)[1].sum())

    def identity(self) -> dict[str, Any]:
        options = json.loads(json.dumps(self.options, sort_keys=True, default=repr))
        how = {"backend": self.backend, "reuse": self.reuse, "options": options}
        return {"name": self.name, "max_steps": self.max_steps, **how}

    def _play(self, networks: Packed, weights: Sequence[float], first: int, reps: int) -> tuple[np.ndarray, np.ndarray]:
        """Reward and length of every episode, (P, V, reps)."""
        self.check(networks)
        shape = len(networks), len(weights), reps
        which, v, r = (numbers.ravel() for numbers in np.indices(shape))
        shared, seeds = np.asarray(weights, float)[v], (first + r) % (1 << 31)
        totals, lengths = np.zeros(which.size), np.zeros(which.size, np.int64)
        # A pool of envpool has an environment for every episode (0.2 MB each for BipedalWalker-v3), so it has a limit.
        block = 16 * self.n_envs if self.backend == "envpool" else max(which.size, 1)
        for start in range(0, which.size, block):
            now = slice(start, start + block)
            with closing(self._episodes(seeds[now], reuse=self.reuse)) as episodes:
                seen = seeds[now], totals[now], lengths[now]
                self._play_block(networks, which[now], shared[now], episodes, *seen)
        return totals.reshape(shape), lengths.reshape(shape)

    def _play_block(
        self,
        networks: Packed,
        which: np.ndarray,
        shared: np.ndarray,
        episodes: Episodes,
        seeds: np.ndarray,
        totals: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        n = networks
        outputs = np.empty((min(self.n_envs, len(which)), self.outputs))
        running, following = np.arange(len(outputs)), len(outputs)
        observations = episodes.start(running)
        while len(running):
            out = outputs[: len(running)]
            # Without numba the kernel is plain numpy arithmetic, which would warn of overflow.
            with np.errstate(all="ignore"):
                forward_rows(
                    n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, which[running], shared[running], observations, out
                )
            sound = np.asarray(np.isfinite(out).all(1) & np.isfinite(observations).all(1))
            ended = ~sound
            totals[running[ended]] = np.nan
            alive = running[sound]
            if len(alive) < len(running):
                self._check(observations, seeds[running], lengths[running])
            if len(alive):
                observations[sound], reward, ended[sound] = episodes.step(alive, self._actions(out[sound]))
                totals[alive] += reward
                lengths[alive] += 1
            if ended.any():
                episodes.end(running[ended])
                rows = np.flatnonzero(ended)
                taken = np.arange(following, min(following + len(rows), len(which)))
                following += len(taken)
                rows, left = rows[: len(taken)], rows[len(taken) :]
                if len(taken):
                    running[rows], observations[rows] = taken, episodes.start(taken)
                running, observations = np.delete(running, left), np.delete(observations, left, axis=0)

    def _check(self, observations: np.ndarray, seeds: np.ndarray, steps: np.ndarray) -> None:
        """Refuse the first observation that is not finite, unless a network's unbounded action may have made it so."""
        at_fault = ~np.isfinite(observations).all(1) & (self._actions.bounded | (steps == 0))
        for row in np.flatnonzero(at_fault)[:1].tolist():
            place = int(np.flatnonzero(~np.isfinite(observations[row]))[0])
            when = f"step {steps[row]} of seed {seeds[row]}" if steps[row] else f"reset(seed={seeds[row]})"
            raise ValueError(
                f"{self.id}: {when}: observation {place} is {observations[row, place]}, expected a finite number"
            )

    def _try_out(self) -> None:
        """Reset and step once, so that an environment which does not fit is refused before a search begins."""
        first = np.zeros(1, np.int64)
        with closing(self._episodes(first, reuse=False)) as episodes:
            start = episodes.start(first)
            self._check(start, first, first)
            after, _, _ = episodes.step(first, self._actions(np.zeros((1, self.outputs))))
            self._check(after, first, first + 1)
            episodes.end(first)

    def _episodes(self, seeds: np.ndarray, *, reuse: bool) -> Episodes:
        if self._spec is not None:
            idle, finite = self._idle if reuse else None, self._actions.bounded
            return gymnasium_backend.GymnasiumEpisodes(self._spec, self.inputs, seeds, idle, finite=finite)
        return envpool_backend.EnvpoolEpisodes(self.id, self.max_steps, self.options, seeds)

    def _keep_idle(self) -> None:
        self._idle: list[Any] = []
        weakref.finalize(self, gymnasium_backend.close_all, self._idle)

    def __getstate__(self) -> dict[str, Any]:
        # Environments stay in the process that made them.
        return {name: value for name, value in vars(self).items() if name != "_idle"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_idle()


def _fitted(id: str, seen: Any, acted: Any) -> tuple[int, int, _Choice | _Scaled]:
    """Inputs and outputs of a network between these spaces, and the function from outputs to actions."""
    from gymnasium.spaces import Box, Discrete

    if isinstance(seen, Box) and len(seen.shape) == 1 and seen.shape[0]:
        if isinstance(acted, Discrete):
            return seen.shape[0], int(acted.n), _Choice(int(acted.start))
        if isinstance(acted, Box) and len(acted.shape) == 1 and np.issubdtype(acted.dtype, np.floating):
            return seen.shape[0], acted.shape[0], _Scaled(acted.low, acted.high, acted.dtype)
    raise ValueError(
        f"{id}: got observations {_in_short(seen)} and actions {_in_short(acted)}, expected a flat Box of observations "
        "and Discrete actions or a flat Box of floats"
    )


def _in_short(space: Any) -> str:
    from gymnasium.spaces import Box

    return f"Box{space.shape} of {space.dtype}" if isinstance(space, Box) else str(space)


@final
class _Choice:
    """Outputs (n, choices) → the number of the biggest, from `start` on."""

    bounded = True

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.argmax(1) + self._start


@final
class _Scaled:
    """Outputs (n, numbers) → (low + high)/2 + clip(output, -1, 1)·(high - low)/2 where both bounds are finite."""

    def __init__(self, low: np.ndarray, high: np.ndarray, dtype: Any) -> None:
        self._low, self._high, self._dtype = low, high, dtype
        self._bounded = np.isfinite(low) & np.isfinite(high)
        self.bounded = bool(self._bounded.all())
        low, high = (np.where(self._bounded, bound, 0.0).astype(float) for bound in (low, high))
        self._middle, self._half = low / 2 + high / 2, high / 2 - low / 2

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        scaled = self._middle + self._half * np.clip(outputs, -1.0, 1.0)
        # Once more after the scaling, whose rounding may step over a bound.
        actions = np.clip(np.where(self._bounded, scaled, outputs), self._low, self._high)
        return actions.astype(self._dtype)


def _chosen_backend(id: str, backend: Backend, options: dict[str, Any]) -> str:
    if backend != "auto":
        return backend
    return "envpool" if not options and envpool_backend.knows(id) else "gymnasium"
