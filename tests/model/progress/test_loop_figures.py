"""The figures of the loop: what people did with each version's suggestions."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Correction, CorrectionState, Database, Project, utc_now
from captionloop.model.dataset.styles import begin_style
from captionloop.model.metrics.estimate import wilson
from captionloop.model.progress.loop_figures import LoopFigures, loop_figures
from captionloop.model.versions.store import VersionInfo

_TUESDAY = utc_now() - timedelta(days=7)


def version(name: str, *, made: int, parent: str | None = None, state: str = "retired") -> VersionInfo:
    """A version that was made `made` days after Tuesday."""
    return VersionInfo(
        version=name, parent=parent, state=state, created_at=_TUESDAY + timedelta(days=made), corrections=0, metrics={},
        path=Path("nowhere"), reason="", generation=GenerationSettings(), snapshot=None, pinned=False, deleted_at=None,
    )  # fmt: skip


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


def figures(database: Database, project: Project, *versions: VersionInfo) -> LoopFigures:
    with database.reading() as session:
        return loop_figures(session, project.id, versions)


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    estimate = wilson(81, 263)

    assert (round(estimate.value, 4), round(estimate.low, 4), round(estimate.high, 4)) == (0.308, 0.2553, 0.3662)


@pytest.mark.parametrize(("successes", "low", "high"), [(0, 0.0, 0.2775), (10, 0.7225, 1.0)])
def test_a_share_of_none_or_all_still_has_an_interval_within_0_and_1(successes: int, low: float, high: float) -> None:
    estimate = wilson(successes, 10)

    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


def test_what_was_kept_is_counted_for_the_version_that_suggested_it(database: Database, project: Project) -> None:
    correct(database, project, version="v1", suggestion="a red square", caption="a red square")
    correct(database, project, version="v1", suggestion="a red square", caption="a blue square")
    correct(database, project, version="v2", suggestion="a dog", caption="a dog")

    shown = figures(database, project, version("v1", made=0), version("v2", made=1))

    assert [(found.version, found.corrected, found.kept.value) for found in shown.versions if found.kept] == [
        ("v1", 2, 0.5),
        ("v2", 1, 1.0),
    ]


def test_figures_of_the_current_style_are_of_its_corrections(database: Database, project: Project) -> None:
    at = utc_now() - timedelta(hours=1)
    correct(database, project, version="v1", suggestion="a dog", caption="a dog", at=at)
    correct(database, project, version="v1", suggestion="a dog", caption="one dog")
    with database.session() as session:
        begin_style(session, project.id, "counting", since=at + timedelta(minutes=1))
    with database.reading() as session:
        made = [version("v1", made=0)]
        every = loop_figures(session, project.id, made).of("v1")
        current = loop_figures(session, project.id, made, in_current_style=True).of("v1")
    assert every is not None
    assert current is not None
    assert (every.kept, current.kept) == (wilson(1, 2), wilson(0, 1))


def test_what_chance_chose_to_ask_about_is_counted_apart(database: Database, project: Project) -> None:
    for kept, at_random in [(True, True), (False, True), (False, False), (False, False), (False, None)]:
        caption = "a red square" if kept else "a blue square"
        correct(database, project, version="v1", caption=caption, asked_at_random=at_random)

    found = figures(database, project, version("v1", made=1)).of("v1")

    assert found is not None
    assert (found.kept, found.kept_at_random) == (wilson(1, 5), wilson(1, 2))


def test_words_changed_is_the_mean_with_the_normal_interval(database: Database, project: Project) -> None:
    for caption in ("a red square", "a blue square", "a blue circle"):  # 0, 1 and 2 words
        correct(database, project, version="v1", suggestion="a red square", caption=caption)

    (found,) = figures(database, project, version("v1", made=0)).versions

    assert found.words_changed is not None
    assert found.words_changed.value == 1.0
    assert found.words_changed.high == pytest.approx(1 + 1.96 * 1 / 3**0.5, abs=1e-3)  # the sample's deviation is 1


def test_a_single_caption_has_a_mean_without_width(database: Database, project: Project) -> None:
    correct(database, project, version="v1", suggestion="a red square", caption="a blue square")

    (found,) = figures(database, project, version("v1", made=0)).versions

    assert found.words_changed is not None
    assert (found.words_changed.low, found.words_changed.high) == (1.0, 1.0)


@pytest.mark.parametrize("state", [CorrectionState.SKIPPED, CorrectionState.EMPTIED, CorrectionState.TASK_DELETED])
def test_a_correction_that_is_no_longer_active_counts_nowhere(
    database: Database, project: Project, state: CorrectionState
) -> None:
    correct(database, project, version="v1", state=state)

    shown = figures(database, project, version("v1", made=0))

    assert (shown.corrections, shown.versions[0].corrected, shown.versions[0].kept) == (0, 0, None)


def test_a_caption_left_out_of_training_teaches_nothing_but_still_tells_how_good_the_suggestion_was(
    database: Database, project: Project
) -> None:
    task = correct(database, project, version="v1")
    with database.session() as session:
        session.query(Correction).filter_by(task_id=task).update({"left_out": True})

    shown = figures(database, project, version("v1", made=0))

    assert (shown.corrections, shown.versions[0].corrected) == (0, 1)


def test_new_are_the_corrections_since_the_newest_training_whatever_became_of_it(
    database: Database, project: Project
) -> None:
    versions = [
        version("base", made=0, state="champion"),
        version("v1", made=2, parent="base", state="rejected"),
    ]
    correct(database, project, version="base", at=_TUESDAY + timedelta(days=1))
    correct(database, project, version="base", at=_TUESDAY + timedelta(days=3))

    shown = figures(database, project, *versions)

    assert (shown.corrections, shown.new_corrections) == (2, 1)


def test_before_any_training_all_corrections_are_new(database: Database, project: Project) -> None:
    correct(database, project, version="base", at=_TUESDAY)

    assert figures(database, project, version("base", made=5, state="champion")).new_corrections == 1


def test_a_version_that_nobody_saw_a_caption_of_is_left_out_unless_it_serves(
    database: Database, project: Project
) -> None:
    shown = figures(database, project, version("v1", made=0), version("v2", made=1, state="champion"))

    assert [found.version for found in shown.versions] == ["v2"]


def test_another_projects_corrections_count_nothing_here(database: Database, project: Project) -> None:
    correct(database, add_project(database, 2), version="v1")

    shown = figures(database, project, version("v1", made=0, state="champion"))

    assert (shown.suggestions, shown.corrections, shown.versions[0].corrected) == (0, 0, 0)
