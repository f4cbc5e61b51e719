"""Tasks from Gymnasium environments: every simulator that Python can call."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from contextlib import closing
from typing import Any, final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.numerics.jit import compiled
from untrained.wann.numerics.vector_math import activate
from untrained.wann.tasks.gymnasium_backend import Episodes, close_all, describe
from untrained.wann.tasks.task import Part, Task, seeds_of


@compiled
def forward_rows(node_ptr, edge_ptr, src, act, weight, which, shared, observations, outputs):
    """Set outputs[r] to network which[r] at the shared weight shared[r] and the inputs observations[r].

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
    """Environment of Gymnasium by its id, such as `GymEnv("BipedalWalker-v3")`.

    Observations are a flat Box. Outputs become actions:

    - Discrete(n): n outputs, and the biggest one wins; ties go to the lowest.
    - Box: an output per number. Where both bounds are finite, the output is cut to [-1, 1] and scaled linearly onto
      [low, high]; where one is, it is cut there; where none is, it is unchanged.

    An episode depends on its seed and its network alone: episode r has the same seed for all networks and weights, and
    by default a new environment. As soon as one ends, the next takes its place. When an output is no finite number,
    the simulator never gets the action, and the reward is NaN. Observations and rewards that are not finite are an
    error of the environment; only where actions have no bounds may a network be at fault, and its reward is NaN, too.

    Python holds its lock in most simulators, so parallel workers are processes. Register your environments in a
    module, and give their ids as "module:Name-v0", so that any process can import them.

    Example:
        >>> task = wann.GymEnv("CartPole-v1", max_steps=10)
        >>> task.name, task.inputs, task.outputs
        ('gym:CartPole-v1', 4, 2)

    Args:
        id: of the environment, with its version.
        n_envs: environments that run side by side in one process.
        max_steps: steps after which an episode ends; None: the environment's registered limit.
        reuse: keep environments between episodes. Quicker where making one is slow, such as MuJoCo's; but some
            remember the episode before: BipedalWalker-v3 keeps its Box2D world, and rewards then depend on earlier
            episodes.
        options: for `gymnasium.make`.

    Raises:
        ImportError: Gymnasium or a package of the environment is not installed.
        TypeError: `id` is no text; an environment made already is in this process alone.
        ValueError: there is no such environment, its spaces, limit or options are not supported, or its first reset or
            step raises or does not fit them. `rewards` raises it for any later one.
    """

    frees_threads = False

    def __init__(
        self,
        id: str,
        *,
        n_envs: int = 32,
        max_steps: int | None = None,
        reuse: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(id, str):
            spec = getattr(getattr(id, "spec", None), "id", None) or "module:Name-v0"
            raise TypeError(
                f"id must be the id of an environment, got a {type(id).__name__}; workers make environments by id: "
                f"register yours with gymnasium.register in a module, and pass {spec!r}"
            )
        for name, count in (("n_envs", n_envs), ("max_steps", max_steps)):
            if count is not None and count < 1:
                raise ValueError(f"{id}: {name} must be at least 1, got {count}")
        # An option until EnvPool was given up, whose start states and rewards were others.
        if (backend := options.pop("backend", "gymnasium")) not in ("auto", "gymnasium"):
            raise ValueError(f"backend must be 'gymnasium', the only one there is, got {backend!r}")
        self.id, self.name = id, f"gym:{id}"
        self.n_envs, self.reuse, self.options = n_envs, reuse, options
        self._spec, observed, acted = describe(id, max_steps, options)
        self.inputs, self.outputs, self._actions = _match_spaces(id, observed, acted)
        if self._spec.max_episode_steps is None:
            raise ValueError(
                f"{id}: its episodes may never end; give max_steps (--max-steps), or register it with max_episode_steps"
            )
        self.max_steps = self._spec.max_episode_steps
        self._keep_idle()
        self._try_out()

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        return self._play(networks, weights, seeds_of(seed, part, reps))[0].mean(2)

    def steps(self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1) -> int:
        """Return the number of steps in all episodes of `rewards`, the unit of an evaluation's speed."""
        return int(self._play(networks, weights, seeds_of(seed, "train", reps))[1].sum())

    def identity(self) -> dict[str, Any]:
        options = json.loads(json.dumps(self.options, sort_keys=True, default=repr))
        # "backend" stays, so that checkpoints can be resumed that were written when there were two.
        how = {"backend": "gymnasium", "reuse": self.reuse, "options": options}
        return {"name": self.name, "max_steps": self.max_steps, **how}

    def _play(self, networks: Packed, weights: Sequence[float], starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return reward and length of every episode, (P, V, reps)."""
        self.check(networks)
        n, shape = networks, (len(networks), len(weights), len(starts))
        which, v, r = (numbers.ravel() for numbers in np.indices(shape))
        shared, seeds = np.asarray(weights, float)[v], starts[r]
        totals, lengths = np.zeros(which.size), np.zeros(which.size, np.int64)
        following = min(self.n_envs, which.size)
        running, outputs = np.arange(following), np.empty((following, self.outputs))
        with closing(self._episodes(seeds, self._idle if self.reuse else None)) as episodes:
            observations = episodes.start(running)
            while len(running):
                out = outputs[: len(running)]
                # Without numba the kernel is plain numpy arithmetic, which would warn of overflow.
                with np.errstate(all="ignore"):
                    arrays = n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, which[running], shared[running]
                    forward_rows(*arrays, observations, out)
                valid = np.asarray(np.isfinite(out).all(1) & np.isfinite(observations).all(1))
                ended = ~valid
                totals[running[ended]] = np.nan
                alive = running[valid]
                if len(alive) < len(running):
                    self._check(observations, seeds[running], lengths[running])
                if len(alive):
                    observations[valid], reward, ended[valid] = episodes.step(alive, self._actions(out[valid]))
                    totals[alive] += reward
                    lengths[alive] += 1
                if ended.any():
                    episodes.end(running[ended])
                    rows = np.flatnonzero(ended)
                    started = np.arange(following, min(following + len(rows), which.size))
                    following += len(started)
                    rows, left = rows[: len(started)], rows[len(started) :]
                    running[rows], observations[rows] = started, episodes.start(started)
                    running, observations = np.delete(running, left), np.delete(observations, left, axis=0)
        return totals.reshape(shape), lengths.reshape(shape)

    def _check(self, observations: np.ndarray, seeds: np.ndarray, steps: np.ndarray) -> None:
        """Refuse the first observation that is not finite, unless a network's unbounded action may have made it so."""
        at_fault = ~np.isfinite(observations).all(1) & (self._actions.bounded | (steps == 0))
        for row in np.flatnonzero(at_fault)[:1].tolist():
            place = int(np.flatnonzero(~np.isfinite(observations[row]))[0])
            when = f"step {steps[row]} of seed {seeds[row]}" if steps[row] else f"reset(seed={seeds[row]})"
            raise ValueError(f"{self.id}: {when}: observation {place} must be finite, got {observations[row, place]}")

    def _try_out(self) -> None:
        """Reset and step once, to refuse an environment that does not fit before a search begins."""
        first = np.zeros(1, np.int64)
        with closing(self._episodes(first, None)) as episodes:
            start = episodes.start(first)
            self._check(start, first, first)
            after, _, _ = episodes.step(first, self._actions(np.zeros((1, self.outputs))))
            self._check(after, first, first + 1)
            episodes.end(first)

    def _episodes(self, seeds: np.ndarray, idle: list[Any] | None) -> Episodes:
        return Episodes(self._spec, self.inputs, seeds, idle, finite=self._actions.bounded)

    def _keep_idle(self) -> None:
        self._idle: list[Any] = []
        weakref.finalize(self, close_all, self._idle)

    def __getstate__(self) -> dict[str, Any]:
        # Environments stay in the process that made them.
        return {name: value for name, value in vars(self).items() if name != "_idle"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep_idle()


def _match_spaces(id: str, observed: Any, acted: Any) -> tuple[int, int, _LargestOutput | _ScaledOutputs]:
    """Return inputs and outputs of a network between these spaces, and the function from outputs to actions."""
    from gymnasium.spaces import Box, Discrete

    if isinstance(observed, Box) and len(observed.shape) == 1 and observed.shape[0]:
        if isinstance(acted, Discrete):
            return observed.shape[0], int(acted.n), _LargestOutput(int(acted.start))
        if isinstance(acted, Box) and len(acted.shape) == 1 and np.issubdtype(acted.dtype, np.floating):
            return observed.shape[0], acted.shape[0], _ScaledOutputs(acted.low, acted.high, acted.dtype)
    first, second = (f"Box{s.shape} of {s.dtype}" if isinstance(s, Box) else str(s) for s in (observed, acted))
    raise ValueError(
        f"{id}: spaces must be a flat Box of observations and Discrete actions or a flat Box of floats, "
        f"got observations {first} and actions {second}"
    )


@final
class _LargestOutput:
    """Function from outputs (n, choices) to the number of the biggest one, counted from `start`."""

    bounded = True

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.argmax(1) + self._start


@final
class _ScaledOutputs:
    """Function from outputs (n, numbers) to (low + high)/2 + clip(output, -1, 1)·(high - low)/2.

    An output without two finite bounds is only cut at the one it has.
    """

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
