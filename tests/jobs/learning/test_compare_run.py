"""Comparing two versions that no run compared, on the worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.versions import FinishedRun

from captionloop.errors import NotFoundError, RunCancelled, RunError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.learning.compare_run import run_compare
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.database import Correction, Database, RunKind
from captionloop.model.evaluation.comparison_file import read_comparison
from captionloop.settings import Settings


@pytest.fixture
def context(home: Home, redis_url: str) -> Iterator[Context]:
    opened = Context.open(Settings.read({"REDIS_URL": redis_url, "CAPTIONLOOP_HOME": str(home.root)}))
    yield opened
    opened.close()


@pytest.fixture
def attempt(context: Context, finished: FinishedRun) -> Attempt:
    """A started run that is to compare the base with the version made from it."""
    settings = {"pairs": [[finished.base.name, finished.version.version]]}
    requested = context.queue.request(finished.project.id, RunKind.COMPARE, asked_by="test", settings=settings)
    started = context.queue.runs.start(requested.run.id)
    assert started is not None
    return started


def kept_at(home: Home, finished: FinishedRun) -> Path:
    return home.comparison(finished.project.id, finished.base.name, finished.version.version)


def test_both_versions_caption_the_held_out_images(
    context: Context, attempt: Attempt, finished: FinishedRun, home: Home
) -> None:
    message = run_compare(context, attempt)

    made = read_comparison(kept_at(home, finished))
    assert made is not None
    assert (made.champion, made.snapshot) == (finished.base.name, finished.snapshot.hash)
    assert {image.image: list(image.references) for image in made.images} == finished.held_out
    assert all(image.champion.caption == image.candidate.caption for image in made.images)  # the same weights
    assert f"{finished.base.name} with {finished.version.version}" in message


def test_made_again_on_the_same_corrections_it_is_left_as_it_is(
    context: Context, attempt: Attempt, finished: FinishedRun, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_compare(context, attempt)
    monkeypatch.setattr(Context, "captioner", None)  # no model is loaded a second time

    run_compare(context, attempt)

    assert kept_at(home, finished).exists()


def test_images_that_a_version_was_trained_on_are_left_out(
    context: Context, attempt: Attempt, finished: FinishedRun, home: Home, database: Database
) -> None:
    """Taking back corrections can move the line below which images are held out."""
    with database.session() as session:
        for correction in session.query(Correction):
            correction.left_out = correction.image_sha256 in finished.held_out

    with pytest.raises(RunError, match="No image is held out"):
        run_compare(context, attempt)

    assert not kept_at(home, finished).exists()


def test_a_cancelled_run_keeps_nothing_of_the_comparison_in_hand(
    context: Context, attempt: Attempt, finished: FinishedRun, home: Home
) -> None:
    context.queue.runs.cancel(attempt.run.id)

    with pytest.raises(RunCancelled):
        run_compare(context, attempt)

    assert not kept_at(home, finished).exists()


def test_a_version_that_was_deleted_meanwhile_is_named(
    context: Context, attempt: Attempt, finished: FinishedRun
) -> None:
    finished.store.promote(finished.project.id, finished.base.name, reason="by hand")
    finished.store.delete(finished.project.id, finished.version.version)

    with pytest.raises(NotFoundError, match=f"{finished.version.version} was deleted"):
        run_compare(context, attempt)
