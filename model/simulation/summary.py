"""Summary of a simulation: means over seeds with intervals, and gains over random picks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from captionloop.model.metrics.estimate import Estimate
from captionloop.model.simulation.rounds import RANDOM, Point, same_words


@dataclass(frozen=True)
class Stage:
    """A strategy after a round.

    Args:
        strategy, round: which.
        corrections, words: means over the seeds.
        unchanged, cider_d: on the test images, with 95 % intervals over the seeds.
        asked_unchanged: of the pictures chosen in the round; None before the first.
    """

    strategy: str
    round: int
    corrections: float
    words: float
    unchanged: Estimate
    cider_d: Estimate
    asked_unchanged: Estimate | None


@dataclass(frozen=True)
class Gain:
    """Difference in the unchanged share between a strategy and random picks, paired by seed.

    Args:
        strategy: which.
        against: `rounds.RANDOM` with as many pictures, or `same_words` of the strategy.
        unchanged: the difference, with its 95 % interval.
    """

    strategy: str
    against: str
    unchanged: Estimate


def stages(points: Sequence[Point]) -> list[Stage]:
    """Each strategy after each round, in order of occurrence."""
    groups: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        groups.setdefault((point.strategy, point.round), []).append(point)
    return [
        Stage(
            strategy=strategy,
            round=number,
            corrections=statistics.mean(point.corrections for point in group),
            words=statistics.mean(point.words for point in group),
            unchanged=mean_over_seeds([point.unchanged for point in group]),
            cider_d=mean_over_seeds([point.cider_d for point in group]),
            asked_unchanged=mean_over_seeds(asked)
            if (asked := [point.asked_unchanged for point in group if point.asked_unchanged is not None])
            else None,
        )
        for (strategy, number), group in groups.items()
    ]


def gains(points: Sequence[Point]) -> list[Gain]:
    """After the last round: each strategy against random picks, if these were simulated as well."""
    last = max((point.round for point in points), default=0)
    by_strategy: dict[str, dict[int, float]] = {}
    for point in points:
        if point.round == last:
            by_strategy.setdefault(point.strategy, {})[point.seed] = point.unchanged
    return [
        Gain(strategy, against, mean_over_seeds([found[seed] - chance[seed] for seed in found]))
        for strategy, found in by_strategy.items()
        for against in (RANDOM, same_words(strategy))
        if strategy != RANDOM and (chance := by_strategy.get(against, {})).keys() >= found.keys()
        if not strategy.startswith(same_words(""))
    ]


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """A mean with Student's 95 % interval, which is infinite for a single value."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return Estimate(mean, -math.inf, math.inf)
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)
