from datetime import timedelta

import numpy as np
import pytest
from tests.support.judged import add_judged, over_confident
from tests.support.models import add_project

from captionloop.model.database import Correction, CorrectionState, Database, utc_now
from captionloop.model.dataset.styles import begin_style, current_style_id, end_style, move_corrections
from captionloop.model.evaluation.calibration import (
    Chances,
    Judged,
    RecentChances,
    calibrate,
    chances,
    judged_suggestions,
    reliability,
)


def test_chances_come_true() -> None:
    found = calibrate(over_confident(2000))

    assert [found(score) for score in (0.6, 0.8, 0.95)] == pytest.approx([0.6**8, 0.8**8, 0.95**8], abs=0.1)
    assert found.calibrated is not None
    assert found.raw is not None
    assert found.calibrated.error < 0.05 < 0.3 < found.raw.error


def test_a_calibrated_score_keeps_its_order() -> None:
    found = calibrate(over_confident(100))

    values = [found(score) for score in np.linspace(0, 1, 50)]

    assert values == sorted(values)
    assert 0 <= values[0] < values[-1] <= 1


def test_the_note_gives_the_error() -> None:
    found = calibrate(over_confident(100))

    assert found.is_calibrated
    assert found.note.startswith("Calibrated on 100 judged suggestions; expected calibration error 0.")


@pytest.mark.parametrize(
    "judged",
    [
        [],
        over_confident(49),
        [Judged(0.9, False)] * 200,
        [Judged(0.9, True)] * 200,
        [Judged(0.2, False)] * 200 + [Judged(0.9, True)] * 4,
    ],
    ids=["none", "few", "all changed", "none changed", "few unchanged"],
)
def test_too_few_corrections_leave_the_score_as_it_is(judged: list[Judged]) -> None:
    found = calibrate(judged)

    assert not found.is_calibrated
    assert found(0.37) == 0.37
    assert found.calibrated is None
    assert found.note.startswith(f"Too few corrections to calibrate: {len(judged)} suggestions were judged")


def test_a_score_that_says_nothing_is_not_turned_round() -> None:
    backwards = [Judged(1 - found.score, found.unchanged) for found in over_confident(300)]

    found = calibrate(backwards)

    assert not found.is_calibrated
    assert found.note.startswith("The score does not tell which captions people leave unchanged")


def test_the_error_is_the_mean_distance_weighted_by_counts() -> None:
    scores = np.asarray([0.05, 0.05, 0.05, 1.0])
    unchanged = np.asarray([False, False, True, True])

    found = reliability(scores, unchanged)

    assert [(b.count, b.chance) for b in found.bins] == [(3, pytest.approx(0.05)), (1, 1.0)]
    assert found.error == pytest.approx(3 / 4 * abs(0.05 - 1 / 3))


# -- from the database -------------------------------------------------------------------------------------------


def read(database: Database, project: int, version: str) -> Chances:
    with database.reading() as session:
        return chances(session, project, version)


def test_a_versions_own_suggestions_count_when_they_suffice(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", [Judged(0.9, False)] * 60, days_ago=3)
    add_judged(database, project, "v2", over_confident(80))

    assert read(database, project, "v2").judged == 80


def test_corrections_of_earlier_versions_fill_up_what_is_missing(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", [Judged(0.9, False)] * 60, days_ago=3)
    add_judged(database, project, "v2", over_confident(80), days_ago=1)
    add_judged(database, project, "v3", over_confident(10))

    assert read(database, project, "v3").judged == 90
    assert read(database, project, "v4-without-any").judged == 90


def test_corrections_of_other_projects_or_without_score_do_not_count(database: Database) -> None:
    project, other = add_project(database, 1).id, add_project(database, 2).id
    add_judged(database, other, "v1", over_confident(80))
    add_judged(database, project, "v1", over_confident(3))
    with database.session() as session:
        first, second, _ = session.query(Correction).filter(Correction.project_id == project)
        first.suggestion_score = None
        second.state = CorrectionState.SKIPPED

    with database.reading() as session:
        assert len(judged_suggestions(session, project, "v1")) == 1


def test_only_what_people_did_in_the_current_style_counts(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", over_confident(80), days_ago=3)
    with database.session() as session:
        begin_style(session, project, "British", since=utc_now() - timedelta(days=2))
    recent = RecentChances(database, current_style=current_style_id, kept_s=0.0)
    assert not recent.of(project, "v1").is_calibrated
    add_judged(database, project, "v1", over_confident(60, seed=1), days_ago=1)
    with database.session() as session:
        of_style = [each.id for each in session.query(Correction).order_by(Correction.id.desc()).limit(60)]
        move_corrections(session, project, of_style, to="British")
    assert recent.of(project, "v1").judged == 60
    with database.session() as session:
        end_style(session, project, "British")
    assert recent.of(project, "v1").judged == 80


def test_recent_chances_are_not_learnt_again_for_each_who_asks(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", over_confident(80))
    recent = RecentChances(database)
    first = recent.of(project, "v1")
    add_judged(database, project, "v1", over_confident(20, seed=1))

    assert recent.of(project, "v1") is first


def test_recent_chances_are_learnt_anew_after_their_time(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", over_confident(80))
    recent = RecentChances(database, kept_s=0.0)
    recent.of(project, "v1")
    add_judged(database, project, "v1", over_confident(20, seed=1))

    assert recent.of(project, "v1").judged == 100


def test_recent_chances_of_another_version_are_its_own_at_once(database: Database) -> None:
    project = add_project(database).id
    add_judged(database, project, "v1", over_confident(80), days_ago=1)
    add_judged(database, project, "v2", over_confident(60, seed=1))
    recent = RecentChances(database)

    assert [recent.of(project, version).judged for version in ("v1", "v2")] == [80, 60]
