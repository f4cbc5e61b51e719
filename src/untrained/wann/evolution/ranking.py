"""Ranking by two objectives at once: non-dominated fronts, then crowding (NSGA-II, Deb et al. 2002)."""

from __future__ import annotations

import numpy as np

from untrained.wann.numerics.jit import compiled


def ranked(first: np.ndarray, second: np.ndarray, *, official_crowding: bool = False) -> np.ndarray:
    """Order by fronts, within a front the least crowded before the others; ties keep their order.

    Args:
        first: an objective, higher is better, float64 (P,), finite.
        second: another, (P,), finite.
        official_crowding: scale distances by |1/max - min| as the authors' code does, instead of 1/(max - min).

    Returns:
        int64 (P,), numbers from best to worst.
    """
    front = fronts(first, second)
    crowding = np.empty(len(front))
    for number in range(front.max() + 1 if len(front) else 0):
        members = np.flatnonzero(front == number)
        crowding[members] = sum(_crowding(objective[members], official_crowding) for objective in (first, second))
    return np.lexsort((-crowding, front))


def fronts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of the non-dominated front that each is in, 0 the best, in O(P log P).

    One dominates another if it is not worse in either objective and better in one.

    Args:
        first: an objective, higher is better, float64 (P,), finite.
        second: another, (P,), finite.
    """
    order = np.lexsort((-second, -first))
    return _fronts(first, second, order)


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
    """Distance to both neighbours, infinite at the ends."""
    order = np.argsort(objective, kind="stable")
    ascending = objective[order]
    crowding = np.empty(len(objective))
    # The widest spreads overflow, the narrowest have no inverse: then nobody is told apart.
    with np.errstate(all="ignore"):
        gaps = np.concatenate([[np.inf], np.diff(ascending), [np.inf]])
        spread = ascending[-1] - ascending[0]
        scale = 1.0
        if spread > 0:
            scale = abs(1 / ascending[-1] - ascending[0]) if official else 1 / spread
        crowding[order] = np.nan_to_num((gaps[:-1] + gaps[1:]) * scale, nan=0.0, posinf=np.inf)
    return crowding
