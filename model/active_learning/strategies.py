"""Active-learning strategies by name, and Label Studio's rule that turns their output into an order.

Label Studio derives an order from predictions only: it serves the cluster of which the annotator has solved fewest
tasks, and in it the task with the lowest score (`serving_order`). So a strategy is a function that gives each image a
score and a cluster. To add one, write such a function and list it in `STRATEGIES`.

Corrections of images that a strategy chose are a biased sample of the model's quality. So with every strategy a share
is picked at random, and marked. Random picks are in cluster 0; the others are spread over as many further clusters
("lanes") as make cluster 0 come up with that share.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from captionloop.errors import SettingsError
from captionloop.model.active_learning.diversity import FloatArray, clusters, farthest_first, stacked

# The defaults: measured in docs/active-learning.md. Before a version has learnt from corrections its score does not
# predict what people leave unchanged; diversity needs no score.
DEFAULT_STRATEGY = "uncertainty"
FIRST_STRATEGY = "diversity"

HORIZON = 50  # about how many corrections come between two runs; there are enough random picks for so many
MOST_RANDOM = 0.5
_LANES = 9  # without random picks: as many as with a share of 0.1
_MOST_IN_ORDER = 1000  # by distance: far more than are labelled before the order is computed again
RANDOM_CLUSTER = 0


@dataclass(frozen=True)
class Prospect:
    """An unlabelled task, or image, as a strategy sees it.

    Args:
        key: the task's id.
        chance: probability that a person leaves the caption unchanged, 0 to 1 (calibrated, or the raw score).
        features: the image's pooled encoder output, float32 (dimensions,), of length 1 (see `diversity.pooled`).
    """

    key: int
    chance: float
    features: FloatArray


@dataclass(frozen=True)
class Pick:
    """The score and cluster that a task's prediction gets in Label Studio.

    Args:
        key: the task's id.
        score: what Label Studio sorts by within a cluster, lowest first.
        cluster: None for an order without clusters.
        at_random: whether it is a random pick, whose correction may count in an unbiased evaluation.
    """

    key: int
    score: float
    cluster: int | None
    at_random: bool


@dataclass(frozen=True)
class Placement:
    """The score and cluster that a strategy gives an image."""

    score: float
    cluster: int | None


Strategy = Callable[[Sequence[Prospect], int, int], list[Placement]]
"""Prospects in random order, number of lanes, seed → the placement of each; clusters count from 1."""


def random(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """Any image: Label Studio's "Uniform sampling", which ignores score and cluster."""
    return [Placement(prospect.chance, None) for prospect in prospects]


def uncertainty(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """The lowest probability first. Lanes are a random partition, so serving in turn nearly keeps that order."""
    return [Placement(prospect.chance, 1 + _hash(prospect.key, seed) % lanes) for prospect in prospects]


def diversity(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """The greedy core-set order (`farthest_first`), whatever the caption's probability.

    The score is the rank, 0 to 1, since Label Studio sorts by nothing else.
    """
    chosen = farthest_first(stacked([prospect.features for prospect in prospects]), count=_MOST_IN_ORDER)
    order = dict.fromkeys([*chosen, *range(len(prospects))])
    rank = {place: number for number, place in enumerate(order)}
    return [Placement(rank[place] / len(prospects), 1 + rank[place] % lanes) for place in range(len(prospects))]


def uncertainty_diversity(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """The lowest probability of each cluster in turn; the clusters are k-means of the image features."""
    found = clusters(stacked([prospect.features for prospect in prospects]), lanes, seed=seed)
    return [Placement(prospect.chance, 1 + cluster) for prospect, cluster in zip(prospects, found, strict=True)]


STRATEGIES: Mapping[str, Strategy] = {
    strategy.__name__: strategy for strategy in (random, uncertainty, diversity, uncertainty_diversity)
}


def pick(
    prospects: Sequence[Prospect], strategy: str, *, random_share: float, seed: int, horizon: int = HORIZON
) -> list[Pick]:
    """The score and cluster of each prospect, in the order of annotation.

    Random picks are the first of an order that depends on key and seed alone, so they stay the same when this is called
    again, until they are labelled. Of the first n in that order all but the last few end up labelled, whatever their
    score: they are an unbiased sample.

    Args:
        prospects: with unique keys.
        strategy: a name in `STRATEGIES`.
        random_share: share of random picks, 0 to 0.5.
        seed: of random picks and lanes.
        horizon: for how many labels the random picks must suffice.

    Raises:
        SettingsError: an unknown strategy, or a share out of range.
    """
    if strategy not in STRATEGIES:
        raise SettingsError(f"The strategy is {strategy!r}; expected one of {', '.join(STRATEGIES)}.")
    if not 0 <= random_share <= MOST_RANDOM:
        raise SettingsError(
            f"The share of random picks is {random_share!r}; expected a number from 0 to {MOST_RANDOM}."
        )
    by_chance = sorted(prospects, key=lambda prospect: _hash(prospect.key, seed))
    if STRATEGIES[strategy] is random:
        return [Pick(prospect.key, prospect.chance, None, at_random=True) for prospect in by_chance]
    tranche = math.ceil(random_share * horizon)
    rest = by_chance[tranche:]
    places = STRATEGIES[strategy](rest, lanes_beside(random_share), seed)
    picks = [Pick(prospect.key, prospect.chance, RANDOM_CLUSTER, at_random=True) for prospect in by_chance[:tranche]]
    picks += [
        Pick(prospect.key, place.score, place.cluster, at_random=False)
        for prospect, place in zip(rest, places, strict=True)
    ]
    return list(serving_order(picks, {}))


def lanes_beside(random_share: float) -> int:
    """How many clusters there must be beside cluster 0, so that 0 is served with this share."""
    return max(round(1 / random_share) - 1, 1) if random_share else _LANES


def in_one_list(picks: Sequence[Pick], *, random_share: float, seed: int) -> list[Pick]:
    """The picks for a list sorted by score without clusters, such as a tab of Label Studio's Data Manager.

    Random picks get a score between those of their neighbours: with a share of 0.1, one after every nine others. The
    others keep theirs.

    Args:
        picks: the output of `pick`.
        random_share, seed: the same as for `pick`.
    """
    chosen = sorted((found for found in picks if not found.at_random), key=lambda found: found.score)
    by_chance = sorted((found for found in picks if found.at_random), key=lambda found: _hash(found.key, seed))
    if not chosen:
        return [replace(found, score=place / len(by_chance)) for place, found in enumerate(by_chance)]
    lanes = lanes_beside(random_share)
    placed = []
    for turn, found in enumerate(by_chance, start=1):
        neighbours = [other.score for other in chosen[turn * lanes - 1 : turn * lanes + 1]] or [1.0]
        placed.append(replace(found, score=sum(neighbours) / len(neighbours)))
    return sorted([*chosen, *placed], key=lambda found: found.score)


def serving_order(picks: Sequence[Pick], solved: Mapping[int | None, int]) -> Iterator[Pick]:
    """The order in which Label Studio's "Uncertainty sampling" serves these tasks to an annotator.

    Label Studio 1.23.2, `projects/functions/next_task.py`, `_try_uncertainty_sampling`: the cluster of which the
    annotator has solved fewest tasks, and in it the lowest score; tasks that somebody else has open are skipped. No
    cluster counts as a cluster. With equal scores Label Studio's order is undefined; here it is that of `picks`.

    Args:
        picks: of unlabelled tasks.
        solved: cluster → how many tasks the annotator has solved in it. A solved task counts for the highest cluster
            among all its predictions.
    """
    waiting: dict[int | None, list[tuple[float, int]]] = defaultdict(list)
    for number, chosen in enumerate(picks):
        waiting[chosen.cluster].append((chosen.score, number))
    for queue in waiting.values():
        heapq.heapify(queue)
    counts = Counter(solved)
    while waiting:
        cluster = min(waiting, key=lambda name: (counts[name], waiting[name][0]))
        _, number = heapq.heappop(waiting[cluster])
        counts[cluster] += 1
        if not waiting[cluster]:
            del waiting[cluster]
        yield picks[number]


def _hash(key: int, seed: int) -> int:
    """A pseudorandom number that is the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big")
