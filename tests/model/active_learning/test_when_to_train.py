"""When an automatic run is due."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.active_learning.when_to_train import reason_to_train
from captionloop.model.database import Correction, Database, Project, Run, RunKind, RunState
from captionloop.model.dataset.styles import begin_style

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
YESTERDAY = NOON - timedelta(days=1)

Reason = Callable[..., str | None]


@pytest.fixture
def project(database: Database) -> Project:
    made = add_project(database)
    with database.session() as session:
        session.get_one(Project, made.id).champion = "v3"
    made.champion = "v3"
    return made


@pytest.fixture
def reason(database: Database, project: Project) -> Reason:
    def look(*, now: datetime = NOON, **settings: object) -> str | None:
        with database.reading() as session:
            return reason_to_train(session, project, ProjectSettings(**settings), now=now)  # type: ignore[arg-type]

    return look


def asked_for(database: Database, project: Project, at: datetime, state: RunState = RunState.FINISHED) -> None:
    with database.session() as session:
        session.add(Run(id=f"run {at}", project_id=project.id, kind=RunKind.FINETUNE, state=state, created_at=at))


def corrected(database: Database, project: Project, count: int, *, kept: int = 0, at: datetime = NOON) -> None:
    for number in range(count):
        caption = "a red square" if number < kept else "a blue circle"
        correct(database, project, version="v3", caption=caption, at=at - timedelta(seconds=number))


def test_nothing_begins_by_itself_unless_the_project_says_so(
    reason: Reason, database: Database, project: Project
) -> None:
    corrected(database, project, 20)
    assert reason() is None


def test_enough_corrections_are_a_reason(reason: Reason, database: Database, project: Project) -> None:
    corrected(database, project, 4)
    assert reason(train_after=5) is None
    corrected(database, project, 1)
    assert reason(train_after=5) == "5 corrections"


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.FAILED, RunState.CANCELLED])
def test_only_those_since_the_last_request_count_whatever_became_of_it(
    reason: Reason, database: Database, project: Project, state: RunState
) -> None:
    corrected(database, project, 5, at=YESTERDAY)
    asked_for(database, project, YESTERDAY + timedelta(hours=1), state)
    corrected(database, project, 2)
    assert reason(train_after=3) is None
    assert reason(train_after=2) == "2 new corrections since the last run"


def test_a_share_of_kept_captions_that_is_too_small_is_a_reason(
    reason: Reason, database: Database, project: Project
) -> None:
    corrected(database, project, 10, kept=6)
    assert reason(train_below=0.6, train_window=10) is None
    assert reason(train_below=0.7, train_window=11) is None  # there are not so many
    assert (
        reason(train_below=0.7, train_window=10)
        == "60% of the last 10 captions of v3 were kept unchanged, less than 70%"
    )


def test_the_share_is_that_of_the_current_style(reason: Reason, database: Database, project: Project) -> None:
    """Else a manner that people have just begun would be a reason to train again and again, or never one."""
    corrected(database, project, 10, kept=10, at=YESTERDAY)
    corrected(database, project, 10)
    assert reason(train_below=0.4, train_window=20) is None  # 10 of 20 were kept
    with database.session() as session:
        begin_style(session, project.id, "British", since=LONG_AGO)
        session.query(Correction).filter(Correction.annotated_at < NOON - timedelta(hours=1)).update({"style_id": None})
    assert reason(train_below=0.4, train_window=10) is not None
    assert reason(train_below=0.4, train_window=11) is None  # there are not so many in it


def test_a_small_share_is_no_reason_again_until_as_many_corrections_came(
    reason: Reason, database: Database, project: Project
) -> None:
    corrected(database, project, 10, at=YESTERDAY)
    asked_for(database, project, YESTERDAY + timedelta(hours=1))
    corrected(database, project, 9)
    assert reason(train_below=0.7, train_window=10) is None


def test_the_share_is_that_of_the_champion_alone(reason: Reason, database: Database, project: Project) -> None:
    for _ in range(10):
        correct(database, project, version="v2", caption="a blue circle", at=NOON)
    assert reason(train_below=0.7, train_window=10) is None


@pytest.mark.parametrize(("minutes", "is_due"), [(-1, False), (0, True), (59, True), (60, False)])
def test_a_daily_run_begins_within_an_hour_of_its_time(
    reason: Reason, database: Database, project: Project, minutes: int, is_due: bool
) -> None:
    corrected(database, project, 1)
    now = NOON + timedelta(minutes=minutes)
    expected = "it is 12:00 (UTC), and there are 1 new corrections" if is_due else None
    assert reason(now=now, train_at="12:00") == expected


@pytest.mark.parametrize("hours", [-11, 0, 9])
def test_a_daily_run_begins_by_one_time_zone_wherever_the_worker_is(
    reason: Reason, database: Database, project: Project, hours: int
) -> None:
    corrected(database, project, 1)
    elsewhere = NOON.astimezone(timezone(timedelta(hours=hours)))
    of_place = NOON.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:%M")

    found = reason(now=elsewhere, train_at=of_place, time_zone="Asia/Tokyo")

    assert found == f"it is {of_place} (Asia/Tokyo), and there are 1 new corrections"
    assert reason(now=elsewhere + timedelta(hours=2), train_at=of_place, time_zone="Asia/Tokyo") is None


def test_a_daily_run_begins_once_a_day(reason: Reason, database: Database, project: Project) -> None:
    asked_for(database, project, NOON + timedelta(minutes=1))
    corrected(database, project, 1, at=NOON + timedelta(minutes=2))
    assert reason(now=NOON + timedelta(minutes=3), train_at="12:00") is None


def test_without_new_corrections_no_daily_run_begins(reason: Reason) -> None:
    assert reason(train_at="12:00") is None
