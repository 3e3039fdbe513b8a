"""Figures of a project's corrections."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.model.dataset.test_corrections import PICTURE_A, PICTURE_B, new_project, record

from captionloop.model.database import Correction, CorrectionState, Database, Image
from captionloop.model.dataset import corrections
from captionloop.model.dataset.stats import DatasetStats, dataset_stats


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        for sha256 in (PICTURE_A, PICTURE_B):
            opened.add(Image(sha256=sha256, size_bytes=1, width=1, height=1))
        yield opened


def test_the_figures_of_a_few_corrections(session: Session) -> None:
    project = new_project(session, 1)
    for number, fields in enumerate(
        [
            {"captions": ["a red cat"], "suggestion": "a red cat", "annotator": "ann"},
            {"captions": ["A blue cat", "a dog"], "suggestion": "a red cat", "annotator": "bob"},
            {"captions": ["two 🐕"], "image_sha256": PICTURE_B, "annotator": "bob"},
            {"captions": [], "state": CorrectionState.SKIPPED},
        ]
    ):
        corrections.upsert(session, project, record(annotation_id=number, task_id=number, **fields))
    session.flush()

    found = dataset_stats(session, project, can_be_written=str.isascii)

    (unwritable,) = found.cannot_be_written
    assert found == DatasetStats(
        by_state={"active": 3, "skipped": 1},
        left_out=0,
        captions=4,
        images=2,
        annotators=2,
        held_out=1,
        near_duplicates=0,
        imported=0,
        words=10 / 4,
        vocabulary=7,
        unchanged=1 / 2,
        words_changed=1 / 2,
        cannot_be_written=[unwritable],
    )


def test_what_a_reviewer_has_left_out_of_training_counts_apart(session: Session) -> None:
    project = new_project(session, 1)
    for number, caption in enumerate(["a red cat", "a blue dog"]):
        corrections.upsert(session, project, record(annotation_id=number, task_id=number, captions=[caption]))
    left_out = session.scalars(select(Correction).where(Correction.annotation_id == 1)).one()
    left_out.left_out = True
    session.flush()

    found = dataset_stats(session, project, can_be_written=str.isascii)

    assert (found.by_state, found.left_out, found.captions) == ({"active": 2}, 1, 1)


def test_a_project_without_corrections_has_figures_too(session: Session) -> None:
    found = dataset_stats(session, new_project(session, 1), can_be_written=str.isascii)
    assert (found.captions, found.images, found.unchanged, found.words_changed) == (0, 0, None, None)
