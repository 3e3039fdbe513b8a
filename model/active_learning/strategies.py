"""Which images a person is asked about next: the strategies by name, and Label Studio's rule that carries them out.

Label Studio can be told an order only through what a prediction has: it serves the task from the cluster that the
annotator has solved least of, and in it the one with the lowest score (`serving_order`). So a strategy is a function
that gives each image a score and a cluster. To add one, write such a function and name it in `STRATEGIES`.

A strategy that asks about what the model does badly makes corrections that say nothing about how it does on the whole.
So a share of all that is asked is picked at random whatever the strategy, and marked. These random picks have a cluster
of their own, 0, and the others are spread over so many more clusters ("lanes") that 0 has its turn as often as its
share says.
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

# Which of them where nobody chose: measured in docs/active-learning.md. The score of a version that has learnt from no
# correction says nothing about what people leave unchanged, but images are as unlike each other as ever.
DEFAULT_STRATEGY = "uncertainty"
FIRST_STRATEGY = "diversity"

HORIZON = 50  # about how many corrections come between two trainings; the random picks are enough for so many
MOST_RANDOM = 0.5
_LANES = 9  # where nothing is picked at random: as many as with a tenth
_MOST_IN_ORDER = 1000  # by distance: far more than anybody labels before the order is made anew
RANDOM_CLUSTER = 0


@dataclass(frozen=True)
class Prospect:
    """An unlabelled task, or image, as a strategy sees it.

    Args:
        key: the task's id.
        chance: that a person leaves the caption unchanged, 0 to 1 (calibrated, or the raw score).
        features: the image's pooled encoder output, float32 (dimensions,), of length 1 (see `diversity.pooled`).
    """

    key: int
    chance: float
    features: FloatArray


@dataclass(frozen=True)
class Pick:
    """A task with what is written to Label Studio.

    Args:
        key: the task's id.
        score: what Label Studio sorts by within a cluster, lowest first.
        cluster: None where Label Studio is not to go by clusters.
        at_random: whether chance alone chose it, so that its correction may count in an unbiased evaluation.
    """

    key: int
    score: float
    cluster: int | None
    at_random: bool


@dataclass(frozen=True)
class Placement:
    """Where a strategy puts an image."""

    score: float
    cluster: int | None


Strategy = Callable[[Sequence[Prospect], int, int], list[Placement]]
"""Prospects in an order of chance, number of lanes, seed → the place of each; clusters count from 1."""


def random(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """Any image next: Label Studio's "Uniform sampling", which looks at neither score nor cluster."""
    return [Placement(prospect.chance, None) for prospect in prospects]


def uncertainty(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """The least likely caption first. The lanes are equal parts of the images, so the order is nearly that."""
    return [Placement(prospect.chance, 1 + _hash(prospect.key, seed) % lanes) for prospect in prospects]


def diversity(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """The image that is least like those before it first (`farthest_first`), whatever the model makes of it.

    The score is the place in that order, 0 to 1, as Label Studio sorts by nothing else.
    """
    chosen = farthest_first(stacked([prospect.features for prospect in prospects]), count=_MOST_IN_ORDER)
    order = dict.fromkeys([*chosen, *range(len(prospects))])
    rank = {place: number for number, place in enumerate(order)}
    return [Placement(rank[place] / len(prospects), 1 + rank[place] % lanes) for place in range(len(prospects))]


def uncertainty_diversity(prospects: Sequence[Prospect], lanes: int, seed: int) -> list[Placement]:
    """From each sort of image in turn the least likely caption; the sorts are clusters of the image features."""
    found = clusters(stacked([prospect.features for prospect in prospects]), lanes, seed=seed)
    return [Placement(prospect.chance, 1 + cluster) for prospect, cluster in zip(prospects, found, strict=True)]


STRATEGIES: Mapping[str, Strategy] = {
    strategy.__name__: strategy for strategy in (random, uncertainty, diversity, uncertainty_diversity)
}


def pick(
    prospects: Sequence[Prospect], strategy: str, *, random_share: float, seed: int, horizon: int = HORIZON
) -> list[Pick]:
    """What to write to Label Studio for each prospect, in the order in which people should be asked.

    The random picks are the first of an order that key and seed alone decide, so they stay the same when this is called
    again, until they are labelled. Of the first n in that order all but the last few are then labelled, whatever the
    model makes of them.

    Args:
        prospects: with different keys.
        strategy: a name in `STRATEGIES`.
        random_share: of all that is asked, 0 to 0.5.
        seed: of what is left to chance.
        horizon: how many labels the random picks are to last for.

    Raises:
        SettingsError: there is no such strategy, or the share is out of its range.
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
    """How many clusters there have to be, that one more has its turn in this share of the cases."""
    return max(round(1 / random_share) - 1, 1) if random_share else _LANES


def in_one_list(picks: Sequence[Pick], *, random_share: float, seed: int) -> list[Pick]:
    """The picks for a list that is sorted by score and knows no clusters, such as a tab of Label Studio's Data Manager.

    Random picks get scores that give each its turn, between those of its neighbours: with a share of a tenth, after
    every nine others. These keep theirs.

    Args:
        picks: as `pick` gives them.
        random_share, seed: as it was given them.
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

    Label Studio 1.23.2, `projects/functions/next_task.py`, `_try_uncertainty_sampling`: the task whose cluster the
    annotator has solved least of, and of these the one with the lowest score; what somebody else has open is passed
    over. Having no cluster counts as a cluster. With equal scores Label Studio promises nothing; here the order of
    `picks` decides.

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
    """A number that looks random, and is the same wherever and whenever it is asked for."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big")
