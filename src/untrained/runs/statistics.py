"""Paired differences between two rows of a table, with Student's t interval."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

CONFIDENCE = 0.95
_EQUAL = 1e-12  # differences of accuracies that are closer differ by rounding alone


@final
@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences between two rows, with its confidence interval.

    Attributes:
        against: name of the row that is subtracted.
        pairs: number of seeds that both rows have.
        mean: mean difference.
        low, high: ends of the interval; None for a single pair, or if all differences are equal.
    """

    against: str
    pairs: int
    mean: float
    low: float | None
    high: float | None

    @property
    def is_noise(self) -> bool:
        """Return True if the interval holds 0: other seeds may turn the difference around."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def paired_difference(against: str, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Return the mean of ours − theirs over the seeds in both, and its interval; None if they share no seed.

    The interval is mean ± t·s/√n: n pairs, s the sample standard deviation of their differences, t the quantile of
    Student's t with n − 1 degrees of freedom. Its coverage is exact for normal differences of independent seeds.

    Args:
        against: name of the row that is subtracted.
        ours, theirs: a value by seed, for each row.
    """
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    count = len(differences)
    if not count:
        return None
    mean = statistics.fmean(differences)
    if max(differences) - min(differences) < _EQUAL:
        return Difference(against, count, mean, None, None)
    half = student_quantile(0.5 + CONFIDENCE / 2, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return Difference(against, count, mean, mean - half, mean + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of Student's t interval of a mean, as of `paired_difference`; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = student_quantile(0.5 + CONFIDENCE / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


@functools.cache
def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t: t with P(T ≤ t) = probability, in [0.5, 1).

    Args:
        probability: of a value of at most t.
        freedom: degrees of freedom, 1 or more.

    Source: P(|T| ≤ t) as a finite sum, Abramowitz & Stegun 1964, 26.7.3 and 26.7.4; t = √freedom · tan θ by bisection.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _central_probability(middle, freedom) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _central_probability(theta: float, freedom: int) -> float:
    """Return P(|T| ≤ √freedom · tan θ)."""
    sine, cosine, odd = math.sin(theta), math.cos(theta), freedom % 2
    total, term = 0.0, cosine if odd else 1.0
    for power in range(2 + odd, freedom + 1, 2):  # terms with cos θ to the power of power − 2
        total += term
        term *= cosine**2 * (power - 1) / power
    return 2 / math.pi * (theta + sine * total) if odd else sine * total
