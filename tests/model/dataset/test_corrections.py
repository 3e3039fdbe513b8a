"""The dataset of corrections: idempotent, ordered by time, with its history, and never smaller than it was."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.errors import CaptionloopError, ImageError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.captions.example import Example
from captionloop.model.database import Category, Correction, CorrectionState, Database, Image, Project
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord, UpsertResult

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PICTURE_A, PICTURE_B = "a" * 64, "b" * 64


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        for sha256 in (PICTURE_A, PICTURE_B):
            opened.add(Image(sha256=sha256, size_bytes=1, width=1, height=1))
        yield opened


@pytest.fixture
def project(session: Session) -> int:
    return new_project(session, 1)


def new_project(session: Session, label_studio_id: int) -> int:
    row = Project(server="http://test", label_studio_id=label_studio_id, webhook_secret="x")
    session.add(row)
    session.flush()
    return row.id


def record(**fields: Any) -> CorrectionRecord:
    usual: dict[str, Any] = {
        "annotation_id": 5,
        "task_id": 3,
        "state": CorrectionState.ACTIVE,
        "captions": ["a cat"],
        "image_sha256": PICTURE_A,
        "annotated_at": NOON,
        "updated_at": NOON,
    }
    return CorrectionRecord(**usual | fields)


def stored(session: Session, annotation_id: int = 5) -> Correction:
    return session.scalars(select(Correction).where(Correction.annotation_id == annotation_id)).one()


class TestUpsert:
    def test_an_annotation_becomes_a_correction(self, session: Session, project: int) -> None:
        given = record(suggestion="a dog", suggestion_version="v1", suggestion_score=0.5, parent_prediction=9)
        assert corrections.upsert(session, project, given) is UpsertResult.NEW
        row = stored(session)
        assert (row.captions, row.suggestion, row.suggestion_version, row.suggestion_score) == (
            ["a cat"], "a dog", "v1", 0.5,
        )  # fmt: skip

    def test_recording_an_annotation_again_changes_nothing(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        assert corrections.upsert(session, project, record()) is UpsertResult.NONE
        assert stored(session).revisions == []

    def test_a_newer_one_replaces_it_and_the_old_text_is_kept(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        later = NOON + timedelta(minutes=1)
        assert (
            corrections.upsert(session, project, record(captions=["a small cat"], updated_at=later))
            is UpsertResult.CHANGED
        )
        row = stored(session)
        assert (row.captions, row.updated_at) == (["a small cat"], later)
        assert [(revision.captions, revision.updated_at) for revision in row.revisions] == [(["a cat"], NOON)]

    def test_an_older_one_never_overwrites_it(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        older = record(captions=["late news"], updated_at=NOON - timedelta(microseconds=1))
        assert corrections.upsert(session, project, older) is UpsertResult.NONE
        assert stored(session).captions == ["a cat"]

    def test_projects_do_not_mix(self, session: Session, project: int) -> None:
        other = new_project(session, 2)
        assert corrections.upsert(session, project, record()) is UpsertResult.NEW
        assert corrections.upsert(session, other, record(captions=["other"])) is UpsertResult.NEW
        assert [example.caption for example in corrections.training_examples(session, project)] == ["a cat"]

    def test_a_skip_leaves_the_training_set_but_not_the_record(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        skip = record(state=CorrectionState.SKIPPED, captions=[], updated_at=NOON + timedelta(1))
        corrections.upsert(session, project, skip)
        assert corrections.training_examples(session, project) == []
        assert stored(session).revisions[0].captions == ["a cat"]

    def test_a_suggestion_once_known_is_not_forgotten(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record(suggestion="a dog", suggestion_version="v1", parent_prediction=9))
        corrections.upsert(session, project, record(captions=["new"], updated_at=NOON + timedelta(1)))
        assert (stored(session).suggestion, stored(session).parent_prediction) == ("a dog", 9)

    def test_an_image_once_copied_is_not_forgotten(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        gone = record(image_sha256=None, captions=["new"], updated_at=NOON + timedelta(1))
        corrections.upsert(session, project, gone)
        assert corrections.training_examples(session, project) == [Example(1, PICTURE_A, "new")]

    def test_an_image_may_become_readable_at_any_time(self, session: Session, project: int) -> None:
        broken = record(state=CorrectionState.IMAGE_UNREADABLE, image_sha256=None, reason="gone")
        corrections.upsert(session, project, broken)
        assert corrections.training_examples(session, project) == []
        assert corrections.upsert(session, project, record()) is UpsertResult.CHANGED
        assert stored(session).reason is None
        assert len(corrections.training_examples(session, project)) == 1

    def test_the_same_failure_in_other_words_is_no_change(self, session: Session, project: int) -> None:
        broken = {"state": CorrectionState.IMAGE_UNREADABLE, "image_sha256": None}
        corrections.upsert(session, project, record(**broken, reason="gone"))
        assert corrections.upsert(session, project, record(**broken, reason="still gone")) is UpsertResult.NONE
        assert stored(session).reason == "still gone"

    def test_the_guess_follows_the_texts(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record(suggestion="a cat", captions=["two cats"]))
        assert stored(session).guess is Category.NUMBER
        later = record(suggestion="a cat", captions=["a black cat"], updated_at=NOON + timedelta(1))
        corrections.upsert(session, project, later)
        assert stored(session).guess is Category.ATTRIBUTES


class TestMarking:
    def test_a_deleted_annotation_is_marked_and_nothing_is_lost(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record(annotation_id=5))
        corrections.upsert(session, project, record(annotation_id=6))
        assert corrections.mark_annotations_deleted(session, project, 3, present=[6]) == 1
        assert stored(session, 5).state is CorrectionState.ANNOTATION_DELETED
        assert stored(session, 5).captions == ["a cat"]
        assert stored(session, 6).state is CorrectionState.ACTIVE

    def test_marking_again_finds_nothing(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        corrections.mark_annotations_deleted(session, project, 3, present=[])
        assert corrections.mark_annotations_deleted(session, project, 3, present=[]) == 0
        assert len(stored(session).revisions) == 1

    def test_a_deleted_task_marks_all_its_corrections(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record(annotation_id=5))
        corrections.upsert(session, project, record(annotation_id=6, state=CorrectionState.SKIPPED))
        corrections.upsert(session, project, record(annotation_id=7, task_id=4))
        assert corrections.mark_task_deleted(session, project, 3) == 2
        assert stored(session, 7).state is CorrectionState.ACTIVE

    def test_what_was_marked_by_mistake_comes_back(self, session: Session, project: int) -> None:
        corrections.upsert(session, project, record())
        corrections.mark_task_deleted(session, project, 3)
        assert corrections.upsert(session, project, record()) is UpsertResult.CHANGED
        assert stored(session).state is CorrectionState.ACTIVE


def test_counts_name_every_state(session: Session, project: int) -> None:
    corrections.upsert(session, project, record(annotation_id=5))
    corrections.upsert(session, project, record(annotation_id=6))
    corrections.upsert(session, project, record(annotation_id=7, state=CorrectionState.EMPTIED, captions=[]))
    found = corrections.counts(session, project)
    assert found.keys() == set(CorrectionState)
    assert (found[CorrectionState.ACTIVE], found[CorrectionState.EMPTIED], found[CorrectionState.SKIPPED]) == (2, 1, 0)


def test_what_a_reviewer_left_out_is_no_example_and_does_not_count_as_one(session: Session, project: int) -> None:
    for annotation, state in ((5, CorrectionState.ACTIVE), (6, CorrectionState.ACTIVE), (7, CorrectionState.SKIPPED)):
        corrections.upsert(session, project, record(annotation_id=annotation, state=state))
    session.scalars(select(Correction).where(Correction.annotation_id == 5)).one().left_out = True

    assert corrections.count_teaching(session, project) == 1
    assert len(corrections.training_examples(session, project)) == 1


def test_what_is_still_there_is_counted_by_task(session: Session, project: int) -> None:
    for annotation_id, task_id in ((5, 3), (6, 3), (7, 4), (8, 9)):
        corrections.upsert(session, project, record(annotation_id=annotation_id, task_id=task_id))
    corrections.mark_task_deleted(session, project, 9)
    assert (corrections.present_per_task(session, project), corrections.present(session, project)) == ({3: 2, 4: 1}, 3)


class TestImages:
    @staticmethod
    def png(colour: str = "red") -> bytes:
        file = io.BytesIO()
        Pillow.new("RGB", (4, 3), colour).save(file, "PNG")
        return file.getvalue()

    def test_bytes_are_kept_under_their_hash(self, session: Session, home: Home) -> None:
        image = corrections.write_image(home, self.png(), limits=ImageLimits())
        corrections.register_image(session, image)
        assert home.image(image.sha256).read_bytes() == self.png()
        row = session.get_one(Image, image.sha256)
        assert (row.width, row.height, row.size_bytes) == (4, 3, len(self.png()))

    def test_the_same_image_twice_is_one(self, session: Session, home: Home) -> None:
        for _ in range(2):
            corrections.register_image(session, corrections.write_image(home, self.png(), limits=ImageLimits()))
        assert len([path for path in home.images.rglob("*") if path.is_file()]) == 1

    def test_bytes_that_are_no_image_are_not_kept(self, home: Home) -> None:
        with pytest.raises(ImageError):
            corrections.write_image(home, b"<html>", limits=ImageLimits())
        assert not home.images.exists()


class TestSnapshot:
    def test_a_snapshot_holds_every_caption_of_every_active_correction(
        self, session: Session, project: int, home: Home
    ) -> None:
        corrections.upsert(session, project, record(annotation_id=5, captions=["a cat", "eine Katze\u2028🐈"]))
        corrections.upsert(session, project, record(annotation_id=6, state=CorrectionState.SKIPPED))
        corrections.upsert(session, project, record(annotation_id=7, image_sha256=PICTURE_B, captions=["a dog"]))
        made = corrections.snapshot(session, project, home)
        assert [(example.image, example.caption) for example in made.examples] == [
            (PICTURE_A, "a cat"), (PICTURE_A, "eine Katze\u2028🐈"), (PICTURE_B, "a dog"),
        ]  # fmt: skip
        assert len(made.path.read_text().splitlines()) == 3

    def test_reading_it_back_gives_the_same(self, session: Session, project: int, home: Home) -> None:
        corrections.upsert(session, project, record(captions=["a cat", "eine Katze\u2028🐈"]))
        made = corrections.snapshot(session, project, home)
        assert corrections.read_snapshot(made.path) == made

    def test_equal_examples_give_the_same_file(self, session: Session, project: int, home: Home) -> None:
        corrections.upsert(session, project, record())
        first = corrections.snapshot(session, project, home)
        assert corrections.snapshot(session, project, home) == first
        corrections.upsert(session, project, record(annotation_id=6, captions=["more"]))
        second = corrections.snapshot(session, project, home)
        assert second.hash != first.hash
        assert corrections.read_snapshot(first.path) == first

    def test_no_corrections_give_an_empty_one(self, session: Session, project: int, home: Home) -> None:
        made = corrections.snapshot(session, project, home)
        assert corrections.read_snapshot(made.path).examples == ()

    def test_a_changed_file_is_refused(self, session: Session, project: int, home: Home) -> None:
        corrections.upsert(session, project, record())
        path = corrections.snapshot(session, project, home).path
        path.chmod(0o600)
        path.write_text(json.dumps({"correction": 1, "image": PICTURE_A, "caption": "forged"}) + "\n")
        with pytest.raises(CaptionloopError, match="was changed"):
            corrections.read_snapshot(path)

    def test_a_missing_file_is_named(self, home: Home) -> None:
        with pytest.raises(CaptionloopError, match=r"nothing\.jsonl cannot be read"):
            corrections.read_snapshot(home.datasets / "nothing.jsonl")

    def test_a_file_from_before_images_were_compared_is_read_and_made_again(
        self, session: Session, project: int, home: Home
    ) -> None:
        corrections.upsert(session, project, record())
        made = corrections.snapshot(session, project, home)
        assert made.path.read_text() == f'{{"caption": "a cat", "correction": 1, "image": "{PICTURE_A}"}}\n'
