"""How fast people are, what was wrong, and where."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.model.database import Category, Correction, CorrectionState, Database, Project
from captionloop.model.dataset import review
from captionloop.model.dataset.review import ReviewFilter
from captionloop.model.progress.pace import Pace, pace, skipped_tasks
from captionloop.model.progress.slices import slices
from captionloop.model.progress.what_was_wrong import what_was_wrong

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)  # a Monday


@pytest.fixture
def project(database: Database) -> Project:
    add_project(database, 1)
    with database.reading() as session:
        return session.query(Project).one()


@pytest.fixture
def session(database: Database, project: Project) -> Iterator[Session]:
    with database.reading() as opened:
        yield opened


def test_the_pace_is_that_of_seven_days_or_of_as_many_as_there_are(
    database: Database, project: Project, session: Session
) -> None:
    assert pace(session, project.id, now=NOW) == Pace(0, 1.0)
    for days in (0.1, 2, 6.9):
        correct(database, project, version="v1", at=NOW - timedelta(days=days))
    session.rollback()
    assert pace(session, project.id, now=NOW) == Pace(3, 6.9)
    correct(database, project, version="v1", at=NOW - timedelta(days=30))
    session.rollback()
    assert pace(session, project.id, now=NOW) == Pace(3, 7.0)


@pytest.mark.parametrize(
    ("count", "left", "day"), [(7, 3, "2026-12-03"), (70, 3, "2026-11-30"), (0, 3, "None"), (1, 10**9, "None")]
)
def test_the_day_of_the_last_caption_is_told_unless_it_cannot_be(count: int, left: int, day: str) -> None:
    assert str(Pace(count, 7.0).done_on(left, today=NOW.date())) == day


def test_a_task_that_was_captioned_after_all_is_not_skipped(
    database: Database, project: Project, session: Session
) -> None:
    correct(database, project, version="v1", state=CorrectionState.SKIPPED)
    again = correct(database, project, version="v1", state=CorrectionState.SKIPPED)
    other = correct(database, project, version="v1")
    with database.session() as writing:
        writing.query(Correction).filter_by(task_id=other).one().task_id = again
    session.rollback()

    assert skipped_tasks(session, project.id) == 1


def test_categories_are_the_reviewers_or_guessed_per_version(
    database: Database, project: Project, session: Session
) -> None:
    correct(database, project, version="v1")
    correct(database, project, version="v1", suggestion="a red square", caption="a blue square")
    changed = correct(database, project, version="v2", suggestion="a red square", caption="a red circle")
    with database.session() as writing:
        row = writing.query(Correction).filter_by(task_id=changed).one()
        review.decide(writing, project.id, row.id, by="lead", category=Category.OTHER)
    session.rollback()

    first, second = what_was_wrong(session, project.id, ["v2", "v1", "v0"])

    assert (first.version, first.judged, first.counts, first.by_reviewers) == ("v2", 1, {Category.OTHER: 1}, 1)
    assert (second.version, second.judged, second.by_reviewers) == ("v1", 2, 0)
    assert sum(second.counts.values()) == 1
    assert sum(second.share(category) for category in Category) == 0.5


def test_each_part_is_counted_and_its_filters_lead_to_as_many_corrections(
    database: Database, project: Project, session: Session
) -> None:
    for number in range(6):
        caption = "a red square" if number < 2 else "a blue square"
        at = NOW - timedelta(days=number * 3)
        correct(database, project, version="v1", caption=caption, annotator=["ada", "bob"][number % 2], at=at)
    correct(database, project, version="v1", suggestion="x" * 100, caption="x" * 100, annotator="ada", at=NOW)
    session.rollback()

    found = slices(session, project.id)

    assert found.looked_at == 7
    assert [(part.name, part.count) for part in found.words] == [("a", 6), ("red", 6), ("square", 6)]
    assert [(part.name, part.count) for part in found.lengths] == [
        ("1 to 20 characters", 6), ("81 characters and more", 1),
    ]  # fmt: skip
    assert {part.name: round(part.kept.value, 2) for part in found.annotators} == {"ada": 0.5, "bob": 0.33}
    assert [part.name for part in found.weeks] == ["2026-11-30", "2026-11-23", "2026-11-16", "2026-11-09"]
    for part in (*found.lengths, *found.annotators):
        wanted: dict[str, Any] = {
            name: int(value) if name.startswith("length") else value for name, value in part.filters.items()
        }
        assert review.count(session, project.id, ReviewFilter(**wanted)) == part.count
