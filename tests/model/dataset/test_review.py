"""What reviewers look at, in which order, and what becomes of their decisions."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session
from tests.model.dataset.test_corrections import NOON, PICTURE_A, new_project, record

from captionloop.errors import NotFoundError
from captionloop.model.database import Category, Correction, CorrectionState, Database, Image
from captionloop.model.dataset import corrections, review
from captionloop.model.dataset.review import Order, ReviewFilter


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as opened:
        opened.add(Image(sha256=PICTURE_A, size_bytes=1, width=1, height=1))
        yield opened


@pytest.fixture
def project(session: Session) -> int:
    return new_project(session, 1)


def add(session: Session, project: int, number: int, caption: str = "a cat", **fields: Any) -> int:
    """A correction of the suggestion "a cat"; its own number in the table."""
    values = {
        "annotation_id": number,
        "suggestion": "a cat",
        "suggestion_version": "v1",
        "suggestion_score": number / 100,
        "annotator": "ada",
        "annotated_at": NOON + timedelta(days=number),
        "captions": [caption],
    }
    corrections.upsert(session, project, record(**values | fields))
    return next(row.id for row in session.query(Correction) if row.annotation_id == number)


@pytest.fixture
def five(session: Session, project: int) -> list[int]:
    """Corrections 1 to 5: unchanged, one word, three words, one word, and one without a suggestion."""
    captions = ["a cat", "a dog", "two big black cats", "A 100% cat_", "free"]
    numbers = [add(session, project, place, caption) for place, caption in enumerate(captions[:4], start=1)]
    alone = {"suggestion": None, "suggestion_score": None, "suggestion_version": None, "annotator": "bob"}
    return [*numbers, add(session, project, 5, "free", **alone)]


def ids(session: Session, project: int, order: Order = Order.NEWEST, **wanted: Any) -> list[int]:
    found = review.listed(session, project, ReviewFilter(**wanted), order, offset=0, limit=100)
    assert review.count(session, project, ReviewFilter(**wanted)) == len(found)
    return [row.annotation_id for row in found if row.annotation_id is not None]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.NEWEST, [5, 4, 3, 2, 1]),
        (Order.MOST_CHANGED, [3, 4, 2, 1, 5]),
        (Order.LOWEST_SCORE, [1, 2, 3, 4, 5]),
    ],
)
def test_the_order_is_the_asked_one_and_what_has_no_value_comes_last(
    session: Session, project: int, five: list[int], order: Order, expected: list[int]
) -> None:
    assert ids(session, project, order) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"version": "v1"}, [4, 3, 2, 1]),
        ({"annotator": "bob"}, [5]),
        ({"is_changed": True}, [4, 3, 2]),
        ({"is_changed": False}, [1]),
        ({"category": Category.NUMBER}, [3]),
        ({"lowest_score": 0.02, "highest_score": 0.03}, [3, 2]),
        ({"since": date(2026, 11, 25), "until": date(2026, 11, 26)}, [3, 2]),
        ({"is_reviewed": True}, []),
        ({"is_left_out": False}, [5, 4, 3, 2, 1]),
        ({"text": "BLACK"}, [3]),
        ({"text": "100%"}, [4]),
        ({"text": "cat_"}, [4]),
        ({"text": "dog", "is_changed": False}, []),
    ],
)
def test_a_filter_lets_through_what_it_says(
    session: Session, project: int, five: list[int], wanted: dict[str, Any], expected: list[int]
) -> None:
    assert ids(session, project, **wanted) == expected


def test_a_reviewers_category_counts_more_than_the_guess(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[2], by="lea", category=Category.WORDING)

    assert ids(session, project, category=Category.NUMBER) == []
    assert ids(session, project, category=Category.WORDING) == [3]


def test_skipped_corrections_and_those_of_other_projects_are_not_reviewed(session: Session, project: int) -> None:
    add(session, project, 1, state=CorrectionState.SKIPPED)
    add(session, new_project(session, 2), 2)

    assert ids(session, project) == []


@pytest.mark.parametrize("order", Order)
def test_going_from_neighbour_to_neighbour_is_going_through_the_list(
    session: Session, project: int, five: list[int], order: Order
) -> None:
    listed = review.listed(session, project, ReviewFilter(), order, offset=0, limit=100)

    found = [review.neighbours(session, project, ReviewFilter(), order, row) for row in listed]

    numbers = [row.id for row in listed]
    assert [place.position for place in found] == [0, 1, 2, 3, 4]
    assert [place.previous for place in found] == [None, *numbers[:-1]]
    assert [place.following for place in found] == [*numbers[1:], None]


def test_a_correction_that_no_longer_fits_the_filter_keeps_its_place(
    session: Session, project: int, five: list[int]
) -> None:
    review.decide(session, project, five[2], by="lea", left_out=True)
    row, wanted = session.get_one(Correction, five[2]), ReviewFilter(is_reviewed=False)

    place = review.neighbours(session, project, wanted, Order.NEWEST, row)

    assert (place.position, place.previous, place.following) == (2, five[3], five[1])


def test_a_decision_is_in_the_correction_with_name_and_time(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[0], by="lea", category=Category.NUMBER, left_out=True, note="count again")

    row = session.get_one(Correction, five[0])
    assert (row.category, row.left_out, row.note, row.reviewed_by) == (Category.NUMBER, True, "count again", "lea")
    assert row.reviewed_at is not None


def test_a_correction_that_is_left_out_does_not_teach(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[0], by="lea", left_out=True)

    taught = {example.correction for example in corrections.training_examples(session, project)}
    assert taught == set(five[1:])


def test_a_sync_never_touches_a_decision(session: Session, project: int) -> None:
    number = add(session, project, 1, "two cats")
    review.decide(session, project, number, by="lea", category=Category.WORDING, left_out=True, note="ask ada")
    decided = session.get_one(Correction, number).reviewed_at

    add(session, project, 1, "two small cats", updated_at=NOON + timedelta(days=9))

    row = session.get_one(Correction, number)
    session.refresh(row)
    assert row.captions == ["two small cats"]
    assert (row.category, row.left_out, row.note) == (Category.WORDING, True, "ask ada")
    assert (row.reviewed_by, row.reviewed_at) == ("lea", decided)


def test_undoing_goes_back_step_by_step_to_the_beginning(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[0], by="lea", category=Category.NUMBER)
    review.decide(session, project, five[0], by="lea", category=Category.OTHER, left_out=True)
    row = session.get_one(Correction, five[0])

    review.undo(session, project, by="lea")
    session.refresh(row)
    assert (row.category, row.left_out, row.reviewed_by) == (Category.NUMBER, False, "lea")

    review.undo(session, project, by="lea")
    session.refresh(row)
    assert (row.category, row.left_out, row.reviewed_by, row.reviewed_at) == (None, False, None, None)
    assert review.undo(session, project, by="lea") is None


def test_reviewers_undo_only_their_own_decisions(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[0], by="lea", left_out=True)

    assert review.undo(session, project, by="max") is None
    assert session.get_one(Correction, five[0]).left_out


def test_undoing_keeps_what_another_reviewer_has_decided_since(session: Session, project: int, five: list[int]) -> None:
    review.decide(session, project, five[0], by="lea", category=Category.NUMBER, left_out=True)
    review.decide(session, project, five[0], by="max", category=Category.SUBJECT)

    review.undo(session, project, by="lea")

    row = session.get_one(Correction, five[0])
    session.refresh(row)
    assert (row.category, row.left_out, row.reviewed_by) == (Category.SUBJECT, False, "max")


def test_the_tab_counts_what_people_wrote_or_changed_and_nobody_has_reviewed(
    session: Session, project: int, five: list[int]
) -> None:
    assert review.count_to_review(session, project) == 4
    review.decide(session, project, five[1], by="lea", left_out=False)
    assert review.count_to_review(session, project) == 3


def test_a_correction_of_another_project_is_not_found(session: Session, project: int, five: list[int]) -> None:
    with pytest.raises(NotFoundError, match=f"There is no correction {five[0]} in this project"):
        review.decide(session, new_project(session, 2), five[0], by="lea", left_out=True)


def test_annotators_are_named_once_each(session: Session, project: int, five: list[int]) -> None:
    assert review.annotators(session, project) == ["ada", "bob"]
