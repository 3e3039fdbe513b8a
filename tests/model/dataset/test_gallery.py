"""The gallery's states and splits, dismissed problems, and annotators' figures."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.model.dataset.test_corrections import PICTURE_A, PICTURE_B, new_project, record

from captionloop.errors import NotFoundError
from captionloop.model.database import CorrectionState, Database, Dismissal, Image
from captionloop.model.dataset import corrections, gallery, review
from captionloop.model.dataset.gallery import STATES, AnnotatorFigures, GalleryFilter
from captionloop.model.dataset.problems import ProblemKind
from captionloop.model.dataset.review import Order, ReviewFilter


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        for sha256 in (PICTURE_A, PICTURE_B):
            opened.add(Image(sha256=sha256, size_bytes=1, width=1, height=1))
        yield opened


@pytest.fixture
def project(session: Session) -> int:
    """Corrections 1 and 2 teach, 3 is left out, 4 was skipped."""
    made = new_project(session, 1)
    corrections.upsert(session, made, record(annotation_id=1))
    corrections.upsert(session, made, record(annotation_id=2, image_sha256=PICTURE_B))
    corrections.upsert(session, made, record(annotation_id=3))
    corrections.upsert(session, made, record(annotation_id=4, captions=[], state=CorrectionState.SKIPPED))
    review.decide(session, made, 3, by="lea", left_out=True)
    return made


@pytest.mark.parametrize(
    ("state", "split", "expected"),
    [
        (None, None, [4, 3, 2, 1]),
        ("teaching", None, [2, 1]),
        ("left-out", None, [3]),
        ("skipped", None, [4]),
        ("task_deleted", None, []),
        (None, "held-out", [2]),
        ("teaching", "train", [1]),
    ],
)
def test_a_filter_lets_through_what_it_says(
    session: Session, project: int, state: str | None, split: str | None, expected: list[int]
) -> None:
    wanted = GalleryFilter(state, split, {PICTURE_B})

    found = gallery.listed(session, project, wanted, offset=0, limit=10)

    assert [row.annotation_id for row in found] == expected
    assert [row.annotation_id for row in gallery.rows(session, project, wanted)] == expected[::-1]
    assert gallery.count(session, project, wanted) == len(expected)


def test_every_state_can_be_asked_for(session: Session, project: int) -> None:
    counts = [gallery.count(session, project, GalleryFilter(state, None, ())) for state in STATES]
    assert sum(counts) == 4


def test_a_dismissal_is_kept_once_and_can_be_taken_back(session: Session, project: int) -> None:
    for _ in range(2):
        gallery.dismiss(session, project, ProblemKind.TEST, "1", by="lea")
    (kept,) = gallery.dismissals(session, project)
    assert (kept.kind, kept.subject, kept.by) == ("test", "1", "lea")

    gallery.take_back(session, project, kept.id, by="max")

    assert gallery.dismissals(session, project) == []
    with pytest.raises(NotFoundError, match="not dismissed"):
        gallery.take_back(session, project, kept.id, by="max")


def test_a_dismissal_that_was_taken_back_stays_known_when_it_is_made_again(session: Session, project: int) -> None:
    gallery.dismiss(session, project, ProblemKind.TEST, "1", by="lea")
    (first,) = gallery.dismissals(session, project)
    gallery.take_back(session, project, first.id, by="max")

    gallery.dismiss(session, project, ProblemKind.TEST, "1", by="kim")

    assert [found.by for found in gallery.dismissals(session, project)] == ["kim"]
    assert [(row.by, row.taken_back_by) for row in session.scalars(select(Dismissal).order_by(Dismissal.id))] == [
        ("lea", "max"),
        ("kim", None),
    ]


def test_annotators_figures(session: Session) -> None:
    project = new_project(session, 2)
    times: dict[str, list[float | None]] = {"ada": [4.0, 90.0, 6.0], "bob": [3.0, 5.0], "eve": [None]}
    number = 0
    for annotator, lead_times in times.items():
        for lead_time in lead_times:
            number += 1
            suggestion = {"ada": "a dog", "bob": "a cat", "eve": None}[annotator]
            given = record(
                annotation_id=number, annotator=annotator, lead_time_s=lead_time, suggestion=suggestion
            )  # fmt: skip
            corrections.upsert(session, project, given)

    assert gallery.annotator_figures(session, project) == [
        AnnotatorFigures("ada", corrections=3, median_time_s=6.0, changed=1.0),
        AnnotatorFigures("bob", corrections=2, median_time_s=4.0, changed=0.0),
        AnnotatorFigures("eve", corrections=1, median_time_s=None, changed=None),
    ]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("istanbul", [1]), ("İSTANBUL", [1]), ("strasse", [2]), ("Straße", [2]), ("ELE\u0301PHANT", [3]), ("محمد", [4]),
        ("100%", []), ("e_e", []), ("\\", []),
    ],
)  # fmt: skip
def test_captions_are_found_without_their_case_and_accents_in_both_databases(
    either_database: Database, typed: str, found: list[int]
) -> None:
    captions = ["Bir kedi İstanbul'da", "Eine Katze auf der Straße", "un éléphant", "قطة مُحَمَّد"]
    with either_database.session() as session:
        session.add(Image(sha256=PICTURE_A, size_bytes=1, width=1, height=1))
        session.flush()
        project = new_project(session, 1)
        for number, caption in enumerate(captions, start=1):
            corrections.upsert(session, project, record(annotation_id=number, captions=[caption]))

        in_gallery = gallery.rows(session, project, GalleryFilter(None, None, (), typed))
        to_review = review.rows(session, project, ReviewFilter(text=typed), Order.NEWEST)

        assert [row.annotation_id for row in in_gallery] == found
        assert [row.annotation_id for row in to_review] == found
