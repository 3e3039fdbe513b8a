"""A project's settings: annotation order, earlier suggestions, automatic runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import time
from typing import Any, Literal, get_args

from sqlalchemy.orm import Session

from captionloop.errors import SettingsError
from captionloop.model.active_learning.strategies import DEFAULT_STRATEGY, FIRST_STRATEGY, MOST_RANDOM, STRATEGIES
from captionloop.model.database import Project
from captionloop.setting_fields import read_pairs, refuse_unknown

Order = Literal["off", "sampling", "view"]
ORDERS: tuple[Order, ...] = get_args(Order)
MOST_EARLIER = 10
AUTO = "auto"
_CALLED = "project setting"


@dataclass(frozen=True)
class ProjectSettings:
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
        train_after: start a run after this many new corrections; None: never for that reason.
        train_below: start a run when people keep a smaller share than this of the champion's captions unchanged; None:
            never for that reason.
        train_window: the number of latest corrections for that share, and the least number of new ones.
        train_at: start a run each day at this time of the worker's clock, such as 03:00, if there are new corrections;
            None: never for that reason.

    Raises:
        SettingsError: a value that cannot be used; the message names setting, value and what is expected.
    """

    order: Order = "off"
    strategy: str = AUTO
    random_share: float = 0.1
    earlier_suggestions: int = 1
    train_after: int | None = None
    train_below: float | None = None
    train_window: int = 50
    train_at: str | None = None

    def __post_init__(self) -> None:
        self._check("order", self.order in ORDERS, f"one of {', '.join(ORDERS)}")
        known = (AUTO, *STRATEGIES)
        self._check("strategy", self.strategy in known, f"one of {', '.join(known)}")
        good = _is_number(self.random_share) and 0 <= self.random_share <= MOST_RANDOM
        self._check("random_share", good, f"a number from 0 to {MOST_RANDOM}")
        good = _is_whole(self.earlier_suggestions, least=0) and self.earlier_suggestions <= MOST_EARLIER
        self._check("earlier_suggestions", good, f"a whole number from 0 to {MOST_EARLIER}")
        good = self.train_after is None or _is_whole(self.train_after, least=1)
        self._check("train_after", good, "a whole number above 0, or off")
        good = self.train_below is None or (_is_number(self.train_below) and 0 < self.train_below <= 1)
        self._check("train_below", good, "a number above 0, at most 1, or off")
        self._check("train_window", _is_whole(self.train_window, least=1), "a whole number above 0")
        self._check("train_at", self.train_at is None or _is_time(self.train_at), "a time such as 03:00, or off")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise SettingsError(f"Project setting {name} is {getattr(self, name)!r}; expected {expected}.")

    def strategy_of(self, *, has_learnt: bool) -> str:
        """The name of the strategy while the champion has, or has not, learnt from corrections."""
        if self.strategy != AUTO:
            return self.strategy
        return DEFAULT_STRATEGY if has_learnt else FIRST_STRATEGY

    @property
    def daily_time(self) -> time | None:
        return None if self.train_at is None else time.fromisoformat(self.train_at)

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
        values = read_pairs(ProjectSettings, pairs, called=_CALLED, example="order=sampling")
        unset = {name: None for name, value in values.items() if value == "off" and name != "order"}
        return ProjectSettings.from_dict(self.to_dict() | values | unset)

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProjectSettings:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            SettingsError: an unknown name or a wrong value.
        """
        refuse_unknown(cls, values, called=_CALLED, error=SettingsError)
        return cls(**values)


def settings_of(project: Project) -> ProjectSettings:
    """A project's settings, as its row holds them."""
    return ProjectSettings.from_dict(project.settings)


def keep_settings(session: Session, project_id: int, settings: ProjectSettings) -> None:
    """Store a project's settings."""
    session.get_one(Project, project_id).settings = settings.to_dict()


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) == len("03:00") and time.fromisoformat(value) is not None
    except ValueError:
        return False
