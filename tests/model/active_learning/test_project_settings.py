"""A project's settings say what is wrong with them."""

import pytest
from tests.support.models import add_project

from captionloop.errors import SettingsError
from captionloop.model.active_learning.project_settings import ProjectSettings, keep_settings, settings_of
from captionloop.model.active_learning.strategies import DEFAULT_STRATEGY, FIRST_STRATEGY
from captionloop.model.database import Database, Project


def test_without_a_choice_label_studio_is_left_alone_and_nothing_begins_by_itself() -> None:
    settings = ProjectSettings()
    assert (settings.order, settings.trains_by_itself) == ("off", False)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("order=sideways", "order is 'sideways'; expected one of off, sampling, view"),
        ("strategy=best", "strategy is 'best'; expected one of auto, random, "),
        ("random_share=0.9", "random_share is 0.9; expected a number from 0 to 0.5"),
        ("random_share=some", "random_share is 'some'; expected a number"),
        ("earlier_suggestions=-1", "earlier_suggestions is -1; expected a whole number from 0 to 10"),
        ("train_after=0", "train_after is 0; expected a whole number above 0, or off"),
        ("train_below=2", "train_below is 2.0; expected a number above 0, at most 1, or off"),
        ("train_window=off", "train_window is None; expected a whole number above 0"),
        ("train_at=25:00", "train_at is '25:00'; expected a time such as 03:00, or off"),
        ("train_at=3", "train_at is '3'; expected a time such as 03:00, or off"),
        ("colour=red", "Unknown project setting colour; known are order, "),
        ("order", "'order' is no project setting; expected name=value, such as order=sampling"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(pair: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        ProjectSettings().changed([pair])
    assert said in str(error.value)


@pytest.mark.parametrize(("has_learnt", "expected"), [(False, FIRST_STRATEGY), (True, DEFAULT_STRATEGY)])
def test_without_a_choice_the_strategy_changes_once_the_champion_has_learnt(has_learnt: bool, expected: str) -> None:
    assert ProjectSettings().strategy_of(has_learnt=has_learnt) == expected


def test_a_chosen_strategy_stays() -> None:
    settings = ProjectSettings(strategy="random")
    assert {settings.strategy_of(has_learnt=True), settings.strategy_of(has_learnt=False)} == {"random"}


def test_off_unsets_and_the_other_settings_stay() -> None:
    settings = ProjectSettings().changed(["train_after=50", "train_at=03:00"])
    assert (settings.train_after, settings.train_at, settings.trains_by_itself) == (50, "03:00", True)
    changed = settings.changed(["train_after=off", "order=off"])
    assert (changed.train_after, changed.train_at, changed.order) == (None, "03:00", "off")


def test_a_time_is_said_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    settings = ProjectSettings().changed(["train_at=03:00"])
    monkeypatch.setenv("TZ", "UTC")

    assert settings.time_zone == "Asia/Tokyo"
    assert settings.changed(["train_after=5"]).time_zone == "Asia/Tokyo"  # also by a backend elsewhere
    assert settings.changed(["time_zone=Europe/Berlin"]).time_zone == "Europe/Berlin"
    assert settings.changed(["time_zone=off"]).time_zone == "UTC"
    assert ProjectSettings().changed(["train_after=5"]).time_zone is None
    with pytest.raises(SettingsError, match="expected a time zone such as Europe/Berlin or UTC"):
        settings.changed(["time_zone=Berlin"])


def test_settings_are_kept_with_the_project(database: Database) -> None:
    project = add_project(database)
    wanted = ProjectSettings(order="view", train_below=0.7)
    with database.session() as session:
        keep_settings(session, project.id, wanted)
    with database.reading() as session:
        assert settings_of(session.get_one(Project, project.id)) == wanted
