"""Selection: non-dominated fronts of two objectives, then crowding (NSGA-II, Deb et al. 2002), then tournaments."""

from __future__ import annotations

import numpy as np

from untrained.wann.evolution.presets import Preset
from untrained.wann.numerics.jit import compiled


def mean_rewards(rewards: np.ndarray) -> np.ndarray:
    """Return the mean reward (P,) of each network over the weights; -inf where it broke down."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rewards.mean(1)
    return np.where(np.isfinite(rewards).all(1) & np.isfinite(mean), mean, -np.inf)


def order_networks(
    rewards: np.ndarray, switched_on: np.ndarray, by_size: bool, *, official_crowding: bool = False
) -> np.ndarray:
    """Return the numbers of networks from best to worst: by mean reward and a second objective, broken ones last.

    Args:
        rewards: (P, V).
        switched_on: connections that each genome has switched on, (P,).
        by_size: the second objective is few connections; otherwise the best reward at any weight.
        official_crowding: as for `rank`.
    """
    works = mean_rewards(rewards) > -np.inf
    good = np.flatnonzero(works)
    second = 1.0 / np.maximum(switched_on[good], 1) if by_size else rewards[good].max(1)
    order = rank(rewards[good].mean(1), second, official_crowding=official_crowding)
    return np.concatenate([good[order], np.flatnonzero(~works)])


def choose_parents(order: np.ndarray, uniform: np.ndarray, preset: Preset) -> tuple[np.ndarray, np.ndarray]:
    """Return each child's parent, (P,), and True if it is mutated: first the elites, then the winners of tournaments.

    Args:
        order: numbers of the networks from best to worst, (P,).
        uniform: P · preset.tournament numbers in [0, 1), at least; elites use none of them.
        preset: has the fractions of elites and of the culled, who have no children.
    """
    size = len(order)
    living = size - int(preset.cull * size)
    elites = int(living * preset.elite)
    entrants = uniform[: (size - elites) * preset.tournament].reshape(size - elites, preset.tournament) * living
    winners = entrants.astype(np.int64).min(1)
    return np.concatenate([order[:elites], order[winners]]), np.arange(size) >= elites


def rank(first: np.ndarray, second: np.ndarray, *, official_crowding: bool = False) -> np.ndarray:
    """Return the numbers of points from best to worst, int64 (P,): by front, then the least crowded; ties keep order.

    Args:
        first: an objective, higher is better, float64 (P,), finite.
        second: another, (P,), finite.
        official_crowding: scale distances by |1/max - min| as the authors' code does, instead of 1/(max - min).
    """
    front = fronts(first, second)
    crowding = np.empty(len(front))
    for number in range(front.max() + 1 if len(front) else 0):
        members = np.flatnonzero(front == number)
        crowding[members] = sum(_crowding(objective[members], official_crowding) for objective in (first, second))
    return np.lexsort((-crowding, front))


def fronts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the number of the non-dominated front that each point is in, 0 the best, in O(P log P).

    One dominates another if it is not worse in either objective and better in one. Arguments are those of `rank`.
    """
    return _fronts(first, second, np.lexsort((-second, -first)))


@compiled
def _fronts(first, second, order):
    # Visited from the best first objective down, a point is dominated by a front if and only if by its last member:
    # that has the highest second objective there. So those of the fronts ascend, and one finds its front by halving.
    front = np.empty(order.shape[0], np.int64)
    best, its_first = np.empty(order.shape[0]), np.empty(order.shape[0])
    count = 0
    for i in order:
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            above = best[middle] > second[i] or (best[middle] == second[i] and its_first[middle] > first[i])
            if above:
                low = middle + 1
            else:
                high = middle
        if low == count:
            count += 1
            best[low], its_first[low] = second[i], first[i]
        elif second[i] > best[low]:
            best[low], its_first[low] = second[i], first[i]
        front[i] = low
    return front


def _crowding(objective: np.ndarray, official: bool) -> np.ndarray:
    """Return the distance of each point to both neighbours, infinite at the ends."""
    order = np.argsort(objective, kind="stable")
    ascending = objective[order]
    crowding = np.empty(len(objective))
    # The widest spreads overflow and the narrowest have no inverse: then all points are equally crowded.
    with np.errstate(all="ignore"):
        gaps = np.concatenate([[np.inf], np.diff(ascending), [np.inf]])
        spread = ascending[-1] - ascending[0]
        scale = 1.0
        if spread > 0:
            scale = abs(1 / ascending[-1] - ascending[0]) if official else 1 / spread
        crowding[order] = np.nan_to_num((gaps[:-1] + gaps[1:]) * scale, nan=0.0, posinf=np.inf)
    return crowding
