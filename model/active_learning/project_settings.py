"""A project's settings: annotation order, earlier suggestions, automatic runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import time, tzinfo
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from sqlalchemy.orm import Session

from captionloop.model.active_learning.strategies import DEFAULT_STRATEGY, FIRST_STRATEGY, MOST_RANDOM, STRATEGIES
from captionloop.model.database import Project
from captionloop.setting_fields import Expected, StoredSettings, Whole, read_pairs
from captionloop.time_zones import local_zone, time_zone

Order = Literal["off", "sampling", "view"]
ORDERS: tuple[Order, ...] = get_args(Order)
EmptyBoxes = Literal["empty", "caption"]
EMPTY_BOXES: tuple[EmptyBoxes, ...] = get_args(EmptyBoxes)
MOST_EARLIER = 10
AUTO = "auto"
_WITH_OFF = ("order", "other_boxes")  # "off" is a value of theirs
_NAMES = (AUTO, *STRATEGIES)


def _names_in(value: object) -> object:
    """Names as people type them, with commas between them; "off" is none."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    return () if value == "off" else tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _known_strategy(name: str) -> str:
    if name not in _NAMES:
        raise ValueError(f"no strategy is called {name!r}")
    return name


def _time_of_day(text: str) -> str:
    if len(text) != len("03:00"):
        raise ValueError(f"{text!r} is not written as 03:00 is")
    time.fromisoformat(text)
    return text


def _known_zone(name: str) -> str:
    time_zone(name)
    return name


_Strategy = Annotated[str, AfterValidator(_known_strategy), Expected(f"one of {', '.join(_NAMES)}")]
_RandomShare = Annotated[float, Field(ge=0, le=MOST_RANDOM), Expected(f"a number from 0 to {MOST_RANDOM}")]
_Earlier = Annotated[int, Field(ge=0, le=MOST_EARLIER), Expected(f"a whole number from 0 to {MOST_EARLIER}")]
_Names = Annotated[tuple[str, ...], BeforeValidator(_names_in), Expected("names with commas between them")]
_Share = Annotated[float, Field(gt=0, le=1)]
_Zone = Annotated[str, AfterValidator(_known_zone)]
_TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]


@dataclass(frozen=True)
class ProjectSettings(StoredSettings):
    """The settings of a project. "Suggestions" are predictions on unlabelled tasks in Label Studio.

    Args:
        order: how Label Studio serves the chosen tasks first. "off": by the project's own settings. "sampling":
            Uncertainty sampling in the strategy's order, each task to one person at a time. "view": a tab of the Data
            Manager sorted by score; its "Label Tasks As Displayed" has no clusters and gives people who ask at the same
            time the same task.
        strategy: how the order is computed (see `strategies`). "auto": `FIRST_STRATEGY` until the champion has learnt
            from a correction, then `DEFAULT_STRATEGY`.
        random_share: share of random picks, which keep evaluation unbiased.
        earlier_suggestions: how many suggestions of earlier versions a task keeps beside the champion's. With 0, a
            person who has an earlier one on the screen must open the task again.
        other_boxes: text boxes of the label config that captions are suggested in and learnt from as well, each in a
            style of its own.
        empty_boxes: what stands in one of them whose style the champion was not taught yet: nothing, or the suggested
            caption.
        train_after: start a run after this many new corrections; None: never for that reason.
        train_below: start a run when people keep a smaller share than this of the champion's captions unchanged; None:
            never for that reason.
        train_window: the number of latest corrections for that share, and the least number of new ones.
        train_at: start a run each day at this time, such as 03:00, if there are new corrections; None: never for that
            reason.
        time_zone: of that time, such as Europe/Berlin. Where `train_at` is set without one, it becomes that of the
            process which sets it, so that workers in several zones agree; None: each worker's own.

    Raises:
        SettingsError: a value that cannot be used; the message names setting, value and what is expected.
    """

    called = "project setting"

    order: Order = "off"
    strategy: _Strategy = AUTO
    random_share: _RandomShare = 0.1
    earlier_suggestions: _Earlier = 1
    other_boxes: _Names = ()
    empty_boxes: EmptyBoxes = "empty"
    train_after: Annotated[Whole | None, Expected("a whole number above 0, or off")] = None
    train_below: Annotated[_Share | None, Expected("a number above 0, at most 1, or off")] = None
    train_window: Whole = 50
    train_at: Annotated[_TimeOfDay | None, Expected("a time such as 03:00, or off")] = None
    time_zone: Annotated[_Zone | None, Expected("a time zone such as Europe/Berlin or UTC")] = None

    def strategy_of(self, *, has_learnt: bool) -> str:
        """The name of the strategy while the champion has, or has not, learnt from corrections."""
        if self.strategy != AUTO:
            return self.strategy
        return DEFAULT_STRATEGY if has_learnt else FIRST_STRATEGY

    @property
    def daily_time(self) -> time | None:
        return None if self.train_at is None else time.fromisoformat(self.train_at)

    @property
    def zone(self) -> tzinfo | None:
        """The time zone of `daily_time`; None: the worker's own."""
        return None if self.time_zone is None else time_zone(self.time_zone)

    @property
    def trains_by_itself(self) -> bool:
        return (self.train_after, self.train_below, self.train_at) != (None, None, None)

    def asks_like(self, other: ProjectSettings) -> bool:
        """Whether both result in the same annotation order."""
        return all(getattr(self, name) == getattr(other, name) for name in ("order", "strategy", "random_share"))

    def changed(self, pairs: Iterable[str]) -> ProjectSettings:
        """A copy with changes from `name=value` pairs as people type them; `off` unsets.

        Raises:
            SettingsError: no such pair, an unknown name, or a wrong value.
        """
        values = read_pairs(ProjectSettings, pairs, example="order=sampling")
        unset = {name: None for name, value in values.items() if value == "off" and name not in _WITH_OFF}
        found = ProjectSettings.from_dict(self.to_dict() | values | unset)
        if found.train_at is None or found.time_zone is not None:
            return found
        return replace(found, time_zone=local_zone())


def settings_of(project: Project) -> ProjectSettings:
    """A project's settings, as its row holds them."""
    return ProjectSettings.from_dict(project.settings)


def keep_settings(session: Session, project_id: int, settings: ProjectSettings) -> None:
    """Store a project's settings."""
    session.get_one(Project, project_id).settings = settings.to_dict()
