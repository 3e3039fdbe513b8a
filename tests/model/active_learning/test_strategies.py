import math
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from captionloop.errors import SettingsError
from captionloop.model.active_learning.strategies import (
    DEFAULT_STRATEGY,
    FIRST_STRATEGY,
    STRATEGIES,
    Pick,
    Prospect,
    in_one_list,
    lanes_beside,
    pick,
    serving_order,
)


def prospects(count: int, *, sorts: int = 4) -> list[Prospect]:
    """Images of some sorts, near their sort's own direction, with chances that rise with the key."""
    rng = np.random.default_rng(0)
    found = []
    for key in range(count):
        vector = np.eye(8, dtype=np.float32)[key % sorts] + rng.normal(0, 0.02, 8).astype(np.float32)
        found.append(Prospect(key, key / count, vector / np.linalg.norm(vector)))
    return found


def keys(picks: list[Pick]) -> list[int]:
    return [chosen.key for chosen in picks]


def served_by_label_studio(picks: list[Pick], solved: Counter[int | None], count: int) -> list[int]:
    """Label Studio's rule word for word, asked anew before each task."""
    left, order, counts = list(picks), [], Counter(solved)
    for _ in range(count):
        task = min(left, key=lambda chosen: (counts[chosen.cluster], chosen.score))
        left.remove(task)
        counts[task.cluster] += 1
        order.append(task.key)
    return order


@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "uncertainty_diversity"])
def test_the_serving_order_is_label_studios_rule(strategy: str) -> None:
    picks = pick(prospects(80), strategy, random_share=0.1, seed=3)
    solved: Counter[int | None] = Counter({None: 20, 0: 2, 1: 5, 4: 1})

    order = keys(list(serving_order(picks, solved)))

    assert order == served_by_label_studio(picks, solved, 80)


def test_a_task_without_cluster_competes_as_a_cluster_of_its_own() -> None:
    picks = [Pick(1, 0.9, 1, at_random=False), Pick(2, 0.5, None, at_random=False), Pick(3, 0.6, None, at_random=False)]

    assert keys(list(serving_order(picks, {}))) == [2, 1, 3]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_prospect_is_picked_once_and_the_same_way_each_time(strategy: str) -> None:
    some = prospects(60)

    picks = pick(some, strategy, random_share=0.1, seed=1)

    assert sorted(keys(picks)) == list(range(60))
    assert pick(some, strategy, random_share=0.1, seed=1) == picks


def test_the_defaults_are_strategies() -> None:
    assert {DEFAULT_STRATEGY, FIRST_STRATEGY} <= STRATEGIES.keys()


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_project_without_unlabelled_tasks_gets_no_picks(strategy: str) -> None:
    assert pick([], strategy, random_share=0.1, seed=0) == []


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "uncertainty_diversity"])
def test_random_picks_are_served_in_their_share(strategy: str, share: float) -> None:
    picks = pick(prospects(400), strategy, random_share=share, seed=0)

    served = list(islice(serving_order(picks, {}), 40))

    assert sum(chosen.at_random for chosen in served) == pytest.approx(40 * share, abs=1)


def test_random_picks_stay_the_same_until_they_are_labelled() -> None:
    some = prospects(200)
    before = {chosen.key for chosen in pick(some, "uncertainty", random_share=0.1, seed=0) if chosen.at_random}
    labelled = min(before)
    changed = [Prospect(p.key, 1 - p.chance, p.features) for p in some if p.key != labelled]

    after = {chosen.key for chosen in pick(changed, "uncertainty", random_share=0.1, seed=0) if chosen.at_random}

    assert len(before) == math.ceil(0.1 * 50)
    assert before - {labelled} < after


def test_random_picks_do_not_depend_on_what_the_model_says() -> None:
    some = prospects(200)
    others = [Prospect(p.key, 1 - p.chance, p.features[::-1].copy()) for p in some]

    chosen = [
        {found.key for found in pick(given, strategy, random_share=0.2, seed=5) if found.at_random}
        for given in (some, others)
        for strategy in ("uncertainty", "diversity", "uncertainty_diversity")
    ]

    assert all(found == chosen[0] for found in chosen)


def test_uncertainty_asks_about_the_least_likely_captions() -> None:
    picks = pick(prospects(400), "uncertainty", random_share=0.1, seed=0)

    asked = [chosen.key for chosen in picks[:40] if not chosen.at_random]

    # Nine equal lanes: the 36 least likely, but for those that another lane has more of.
    assert np.mean(asked) < 25
    assert max(asked) < 80


def test_diversity_asks_about_every_sort_first() -> None:
    picks = pick(prospects(200, sorts=6), "diversity", random_share=0.1, seed=0)

    asked = [chosen for chosen in picks if not chosen.at_random][:6]

    assert {chosen.key % 6 for chosen in asked} == set(range(6))


def test_diversity_scores_are_places_in_the_order() -> None:
    picks = pick(prospects(50), "diversity", random_share=0, seed=0)

    scores = [chosen.score for chosen in picks]

    assert scores == [number / 50 for number in range(50)]


def test_uncertainty_diversity_takes_turns_between_sorts_of_images() -> None:
    picks = pick(prospects(360, sorts=4), "uncertainty_diversity", random_share=0.2, seed=0)

    asked = [chosen for chosen in picks if not chosen.at_random][:8]

    assert Counter(chosen.key % 4 for chosen in asked) == dict.fromkeys(range(4), 2)


def test_scores_are_the_chances_where_the_strategy_goes_by_them() -> None:
    some = prospects(100)

    for strategy in ("random", "uncertainty", "uncertainty_diversity"):
        picks = pick(some, strategy, random_share=0.1, seed=0)

        assert {chosen.key: chosen.score for chosen in picks} == {p.key: p.chance for p in some}


def test_random_leaves_the_order_to_label_studio() -> None:
    picks = pick(prospects(30), "random", random_share=0.1, seed=0)

    assert all(chosen.cluster is None and chosen.at_random for chosen in picks)
    assert keys(picks) != sorted(keys(picks))


def test_without_random_share_nothing_is_picked_at_random() -> None:
    picks = pick(prospects(30), "uncertainty", random_share=0, seed=0)

    assert not any(chosen.at_random for chosen in picks)


@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "uncertainty_diversity"])
def test_in_a_list_by_score_random_picks_have_their_turn_whatever_the_model_makes_of_them(strategy: str) -> None:
    picks = pick(prospects(100), strategy, random_share=0.2, seed=0)

    listed = in_one_list(picks, random_share=0.2, seed=0)

    assert listed == sorted(listed, key=lambda chosen: chosen.score)
    assert [place for place, chosen in enumerate(listed[:50]) if chosen.at_random] == list(range(4, 50, 5))
    others = [{c.key: c for c in found if not c.at_random} for found in (picks, listed)]
    assert others[0] == others[1]


def test_in_a_list_by_score_the_order_of_random_picks_does_not_depend_on_their_scores() -> None:
    some = prospects(100)
    other = [Prospect(p.key, 1 - p.chance, p.features) for p in some]

    orders = [
        [c.key for c in in_one_list(pick(given, "uncertainty", random_share=0.1, seed=0), random_share=0.1, seed=0)
         if c.at_random]
        for given in (some, other)
    ]  # fmt: skip

    assert orders[0] == orders[1]


def test_in_a_list_by_score_random_choice_is_random() -> None:
    picks = pick(prospects(30), "random", random_share=0.1, seed=0)

    assert keys(in_one_list(picks, random_share=0.1, seed=0)) == keys(picks)


def test_where_the_others_end_random_picks_come_last() -> None:
    picks = pick(prospects(8), "uncertainty", random_share=0.1, seed=0)

    listed = in_one_list(picks, random_share=0.1, seed=0)

    assert [chosen.at_random for chosen in listed] == [False] * 3 + [True] * 5


@pytest.mark.parametrize(("share", "lanes"), [(0.5, 1), (0.2, 4), (0.1, 9), (0.05, 19), (0.0, 9)])
def test_the_lanes_leave_room_for_the_random_share(share: float, lanes: int) -> None:
    assert lanes_beside(share) == lanes


def test_an_unknown_strategy_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="'entropy'; expected one of random, uncertainty"):
        pick(prospects(3), "entropy", random_share=0.1, seed=0)


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match=r"expected a number from 0 to 0\.5"):
        pick(prospects(3), "uncertainty", random_share=share, seed=0)
