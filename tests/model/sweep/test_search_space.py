"""The search space of a sweep."""

from typing import Any

import pytest

from captionloop.errors import SettingsError
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.training.settings import FinetuneSettings, default_learning_rate

WIDTH = 128


def space(**changed: Any) -> SearchSpace:
    return SearchSpace(
        **{
            "ways": ("decoder", "lora"),
            "schedules": ("cosine",),
            "rates": (1e-4, 1e-2),
            "fixed": {"steps": 7},
            **changed,
        }
    )


def test_each_ways_default_rate_lies_within_the_space_that_nobody_narrowed() -> None:
    low, high = SearchSpace.around_defaults(WIDTH, ways=("decoder", "lora", "full")).rates

    assert all(low < default_learning_rate(WIDTH, way) < high for way in ("decoder", "lora", "full"))


def test_a_trial_trains_with_what_it_chose_and_with_what_is_fixed() -> None:
    chosen = space().settings({"way": "lora", "schedule": "cosine", "learning_rate": 2e-3})

    assert chosen == FinetuneSettings(way="lora", schedule="cosine", learning_rate=2e-3, steps=7)


def test_what_a_run_would_use_anyway_is_known_for_each_way() -> None:
    rates = {choice["way"]: choice["learning_rate"] for choice in space().defaults(WIDTH)}

    assert rates == {way: default_learning_rate(WIDTH, way) for way in ("decoder", "lora")}


def test_a_default_outside_the_space_is_not_tried() -> None:
    assert space(rates=(1e-6, 1e-5)).defaults(WIDTH) == []


def test_a_space_comes_back_from_the_database() -> None:
    assert SearchSpace.from_dict(space().to_dict()) == space()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ways": ("sideways",)}, "ways to search are sideways; expected some of decoder, lora, full"),
        ({"ways": ()}, "ways to search are none"),
        ({"schedules": ("cosine", "cosine")}, "each once"),
        ({"rates": (1e-2, 1e-4)}, "learning rates to search are 0.01 to 0.0001"),
        ({"rates": (0.0, 1e-4)}, "a lower one above 0"),
        ({"fixed": {"way": "lora"}}, "way is what a sweep searches"),
        ({"fixed": {"epochs": 3}}, "Unknown fine-tuning setting epochs"),
        ({"fixed": {"steps": 0}}, "steps is 0"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_its_reason(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        space(**changed)
