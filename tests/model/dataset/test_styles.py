"""A project's styles: when each begins and ends, and which corrections belong to it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.errors import NotFoundError, SettingsError
from captionloop.home import Home
from captionloop.model.captions.example import Example
from captionloop.model.database import Correction, Database, Image, Project, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import ImportedCaption, freeze
from captionloop.model.dataset.replay import with_replay
from captionloop.model.dataset.styles import (
    ProjectStyles,
    begin_style,
    end_style,
    moment_of,
    move_corrections,
    styles_of,
)

DAY = timedelta(days=1)
NOW = utc_now()


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def written(database: Database, project: Project) -> Callable[..., int]:
    """Submit a caption some days ago, of a picture of its own; returns the correction's number."""

    numbers = count()

    def write(days_ago: float, caption: str = "a red square", of: Project = project) -> int:
        digest = f"{next(numbers):064x}"
        with database.session() as session:
            session.add(Image(sha256=digest, size_bytes=1, width=1, height=1, looks_like=digest, split_with=digest))
        task = correct(database, of, version="v1", caption=caption, at=NOW - days_ago * DAY, image_sha256=digest)
        with database.reading() as session:
            return session.query(Correction).filter_by(project_id=of.id, task_id=task).one().id

    return write


def style_of(database: Database, correction: int) -> str | None:
    with database.reading() as session:
        found = {example.correction: example.style for example in corrections.training_examples(session, 1)}
    return found[correction]


def current(database: Database, project: Project) -> str | None:
    with database.reading() as session:
        return ProjectStyles.of(session, project.id).current


def begun(database: Database, project: Project, name: str, **options: Any) -> int:
    with database.session() as session:
        return begin_style(session, project.id, name, **options)


def test_a_project_begins_with_one_style_without_a_name(database: Database, project: Project, written: Any) -> None:
    written(1)
    with database.reading() as session:
        (only,) = styles_of(session, project.id)
        assert ProjectStyles.of(session, project.id) == ProjectStyles()
    assert (only.name, only.corrections, only.is_current) == (None, 1, True)
    assert only.to_dict()["since"] is None


def test_a_style_takes_the_corrections_from_its_beginning_on(
    database: Database, project: Project, written: Any
) -> None:
    before, after = written(3), written(1)
    assert begun(database, project, "British", since=NOW - 2 * DAY, language="English") == 1
    later = written(0)
    assert [style_of(database, each) for each in (before, after, later)] == [None, "British", "British"]
    assert current(database, project) == "British"
    with database.reading() as session:
        unnamed, british = styles_of(session, project.id)
    assert (unnamed.corrections, british.corrections, british.language) == (1, 2, "English")
    assert json.loads(json.dumps(british.to_dict()))["since"] == (NOW - 2 * DAY).isoformat()


def test_a_style_that_begins_now_moves_nothing(database: Database, project: Project, written: Any) -> None:
    earlier = written(1)
    assert begun(database, project, "British") == 0
    assert style_of(database, earlier) is None


def test_a_style_that_begins_before_another_takes_what_lies_between(
    database: Database, project: Project, written: Any
) -> None:
    first, second, third = written(5), written(3), written(1)
    begun(database, project, "new", since=NOW - 2 * DAY)
    assert begun(database, project, "between", since=NOW - 4 * DAY) == 1
    assert [style_of(database, each) for each in (first, second, third)] == [None, "between", "new"]
    assert current(database, project) == "new"


def test_after_the_end_of_a_style_the_one_before_it_is_current_again(
    database: Database, project: Project, written: Any
) -> None:
    begun(database, project, "first", since=NOW - 4 * DAY)
    begun(database, project, "second", since=NOW - 2 * DAY)
    in_second = written(1)
    with database.session() as session:
        assert end_style(session, project.id, "second") == "first"
    assert current(database, project) == "first"
    assert style_of(database, in_second) == "second"
    with database.session() as session:
        assert ProjectStyles.of(session, project.id).open == (None, "first")
        assert end_style(session, project.id, "first") is None
    assert current(database, project) is None


def test_a_late_sync_of_a_correction_that_was_made_before_the_end_is_of_the_style(
    database: Database, project: Project, written: Any
) -> None:
    begun(database, project, "short", since=NOW - 2 * DAY)
    with database.session() as session:
        end_style(session, project.id, "short")
    assert style_of(database, written(1)) == "short"


def test_corrections_are_moved_by_their_numbers(database: Database, project: Project, written: Any) -> None:
    one, other = written(3), written(2)
    begun(database, project, "British")
    with database.session() as session:
        assert move_corrections(session, project.id, [one, other], to="British") == 2
        assert move_corrections(session, project.id, [one, other], to="British") == 0
    assert style_of(database, one) == "British"
    with database.session() as session:
        assert move_corrections(session, project.id, [one], to=None) == 1
    assert [style_of(database, each) for each in (one, other)] == [None, "British"]


def test_an_annotation_that_is_changed_later_stays_in_its_style(
    database: Database, project: Project, written: Any
) -> None:
    number = written(3)
    begun(database, project, "British", since=NOW - 2 * DAY)
    with database.session() as session:
        row = session.get_one(Correction, number)
        record = corrections.CorrectionRecord(
            annotation_id=row.annotation_id or 0, task_id=row.task_id or 0, state=row.state, captions=["two dogs"],
            annotated_at=row.annotated_at, updated_at=NOW,
        )  # fmt: skip
        corrections.upsert(session, project.id, record)
    assert style_of(database, number) is None


def test_imported_captions_are_of_the_current_style(database: Database, project: Project, written: Any) -> None:
    written(1)
    begun(database, project, "British")
    with database.session() as session:
        corrections.add_imported(session, project.id, [ImportedCaption(f"{0:064x}", "a lorry", "captions.csv, line 1")])
    with database.reading() as session:
        assert [(each.caption, each.style) for each in corrections.training_examples(session, project.id)] == [
            ("a red square", None), ("a lorry", "British")
        ]  # fmt: skip


def test_projects_have_their_own_styles(database: Database, project: Project) -> None:
    other = add_project(database, 2)
    begun(database, project, "British")
    assert current(database, other) is None
    begun(database, other, "British")


@pytest.mark.parametrize("name", ["", " British", "a\nb", "x" * 61])
def test_a_name_that_cannot_be_shown_is_refused(database: Database, project: Project, name: str) -> None:
    with pytest.raises(SettingsError, match="A style cannot be called"):
        begun(database, project, name)


def test_a_name_that_is_taken_and_a_moment_that_cannot_be_are_refused(database: Database, project: Project) -> None:
    begun(database, project, "British")
    with pytest.raises(SettingsError, match="has a style 'British' already"):
        begun(database, project, "British")
    with pytest.raises(SettingsError, match="cannot begin on 2999-01-01 00:00; expected a moment from 1970 to now"):
        begun(database, project, "other", since=datetime(2999, 1, 1, tzinfo=UTC))
    with pytest.raises(SettingsError, match="cannot begin on"):
        begun(database, project, "other", since=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))


def test_what_there_is_not_is_named(database: Database, project: Project, written: Any) -> None:
    number = written(1)
    begun(database, project, "British")
    with database.session() as session:
        with pytest.raises(NotFoundError, match=r"There is no style 'French' in this project\. It has: 'British'"):
            end_style(session, project.id, "French")
        with pytest.raises(NotFoundError, match="There is no correction 7, 9 in this project"):
            move_corrections(session, project.id, [9, number, 7], to="British")
        with pytest.raises(NotFoundError, match="There is no correction -1, 99999999999999999999 in this project"):
            move_corrections(session, project.id, [10**20 - 1, -1], to="British")
        with pytest.raises(NotFoundError, match="There is no correction 7"):
            moment_of(session, project.id, 7)
        with pytest.raises(NotFoundError, match="There is no correction 99999999999999999999"):
            moment_of(session, project.id, 10**20 - 1)
        end_style(session, project.id, "British")
        with pytest.raises(SettingsError, match="The style 'British' ended on"):
            end_style(session, project.id, "British")
    assert style_of(database, number) is None


def test_a_snapshot_has_the_styles_and_one_without_keeps_its_hash(
    database: Database, project: Project, written: Any, tmp_path: Path
) -> None:
    written(3, "a red car")
    home = Home(tmp_path / "home")
    home.create()
    with database.session() as session:
        before = corrections.snapshot(session, project.id, home)
    assert before.path.read_text() == (f'{{"caption": "a red car", "correction": 1, "image": "{0:064x}"}}\n')
    begun(database, project, "British", since=NOW - 2 * DAY)
    written(1, "a red lorry")
    with database.session() as session:
        after = corrections.snapshot(session, project.id, home)
    read = corrections.read_snapshot(after.path)
    assert read.styles == (None, "British")
    assert read.references() == {f"{0:064x}": ["a red car"]}
    assert read.references("British") == {f"{1:064x}": ["a red lorry"]}


def test_a_correction_that_was_moved_to_another_style_is_new_to_the_champion(tmp_path: Path) -> None:
    old = [Example(number, f"{number:064x}", "a red car") for number in range(20)]
    learnt = freeze(old, tmp_path)
    moved = Example(0, old[1].image, "a red car", style="British")
    assert with_replay(old, learnt, share=0.0, seed=0) == [
        example for example in old if example.image in learnt.split().held_out
    ]
    assert moved in with_replay([moved, *old[2:]], learnt, share=0.0, seed=0)
