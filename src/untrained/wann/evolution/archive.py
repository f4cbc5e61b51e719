"""Selection by an archive: the best network of every size by every criterion (MAP-Elites, Mouret & Clune 2015).

The mean over the weights alone pays for whirling: a pole that turns forever earns half of the reward at any weight, and
no small change of such a network leads to one that balances. So a network also survives if it is the best at one
weight, or in the mean of its best two, three, …, of all weights: a ladder from specialists to weight agnostic networks.
"""

from __future__ import annotations

import numpy as np

from untrained.wann.evolution.ranking import mean_rewards


def choose_from_archive(
    rewards: np.ndarray, switched_on: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each child's parent, (P,), and True if it is mutated: first the elites unchanged, then children of theirs.

    The elites are at most half of the population; every elite is as likely to be a parent.

    Args:
        rewards: (P, V), means over the generations that a network has seen.
        switched_on: connections that each genome has switched on, (P,).
        uniform: P numbers in [0, 1).
    """
    size, archive = len(rewards), elites(rewards, switched_on)
    if not len(archive):
        return np.arange(size), np.ones(size, bool)
    kept = archive[: size // 2]
    parents = archive[(uniform[: size - len(kept)] * len(archive)).astype(np.int64)]
    return np.concatenate([kept, parents]), np.arange(size) >= len(kept)


def elites(rewards: np.ndarray, switched_on: np.ndarray) -> np.ndarray:
    """Return the numbers of the networks in the archive, by their mean rewards, the best first; none that broke down.

    By each of `criteria`, these are the best of every size class that are better than all smaller ones. Sizes of a
    class differ by less than a factor of √2.
    """
    mean = mean_rewards(rewards)
    works = np.flatnonzero(mean > -np.inf)
    sizes = np.floor(2 * np.log2(np.maximum(switched_on[works], 1))).astype(np.int64)
    found = np.zeros(len(works), bool)
    for criterion in criteria(rewards[works]).T:
        order = np.lexsort((-criterion, sizes))  # by size class, then by reward; of equals the first
        reached = np.maximum.accumulate(criterion[order])
        found[order[reached > np.concatenate([[-np.inf], reached])[:-1]]] = True
    members = works[found]
    return members[np.argsort(-mean[members], kind="stable")]


def criteria(rewards: np.ndarray) -> np.ndarray:
    """Return the reward at each weight, and the mean of the best 1, 2, …, V rewards of each network, (P, 2·V)."""
    ladder = np.cumsum(-np.sort(-rewards, 1), 1) / np.arange(1, rewards.shape[1] + 1)
    return np.concatenate([rewards, ladder], 1)
