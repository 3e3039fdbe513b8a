"""A figure of a sample with its 95 % interval: a share, or a mean."""

import math
from dataclasses import dataclass

_Z95 = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927), which is right for few trials and shares near 0 or 1."""
    share, squared = successes / trials, _Z95**2
    middle = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = _Z95 * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2)) / (1 + squared / trials)
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0))


def mean_of_counts(trials: int, total: float, squares: float) -> Estimate:
    """The mean of counts with its normal interval, from their sum and the sum of their squares."""
    mean = total / trials
    variance = max(squares / trials - mean**2, 0.0) * trials / max(trials - 1, 1)
    half = _Z95 * math.sqrt(variance / trials)
    return Estimate(mean, max(mean - half, 0.0), mean + half)
