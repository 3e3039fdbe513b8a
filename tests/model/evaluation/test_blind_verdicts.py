"""Blind verdicts: the sample of pictures, and the tally."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.support.models import add_project

from captionloop.model.database import Better, Choice, Database, Image, Project, Version
from captionloop.model.evaluation import blind_verdicts
from captionloop.model.evaluation.blind_verdicts import choices_of, keep_choice, say_the_same, tally, to_ask
from captionloop.model.evaluation.comparison_file import ComparedImage, EvaluatedCaption
from captionloop.model.metrics.estimate import wilson

IMAGES = tuple("abcd")


def compared(image: str, before: str, after: str) -> ComparedImage:
    def written(caption: str) -> EvaluatedCaption:
        return EvaluatedCaption(caption, cider_d=1.0, word_edits=1, word_edit_rate=0.5, exact_match=False)

    return ComparedImage(image, ("a red car",), written(before), written(after))


@pytest.fixture
def project(database: Database) -> Project:
    project = add_project(database)
    with database.session() as session:
        session.add_all(Version(name=name) for name in ("v1", "v2"))
        session.add_all(Image(sha256=image, size_bytes=1, width=1, height=1) for image in IMAGES)
    return project


@pytest.fixture
def session(database: Database, project: Project) -> Iterator[Session]:
    with database.session() as opened:
        yield opened


def choose(session: Session, project: Project, image: str, better: Better, by: str = "ada") -> None:
    keep_choice(session, project.id, "v1", "v2", image, better=better, by=by)


def test_nobody_is_asked_about_two_captions_that_are_the_same() -> None:
    images = [compared("a", "a car", "a car "), compared("b", "a car", "a dog")]

    assert [image.image for image in to_ask(images, "v1", "v2")] == ["b"]
    assert say_the_same(images) == 1


def test_everybody_is_asked_about_the_same_pictures_in_the_same_order() -> None:
    images = [compared(image, "a car", "a dog") for image in IMAGES]

    assert to_ask(images, "v1", "v2") == to_ask(images[::-1], "v1", "v2")


def test_of_many_pictures_only_some_are_asked_about() -> None:
    images = [compared(str(number), "a car", "a dog") for number in range(blind_verdicts.MOST_ASKED + 10)]

    asked = to_ask(images, "v1", "v2")

    assert len(asked) == blind_verdicts.MOST_ASKED
    assert asked != images[: blind_verdicts.MOST_ASKED]


def test_a_second_verdict_about_a_picture_replaces_the_first(session: Session, project: Project) -> None:
    choose(session, project, "a", Better.FIRST)
    choose(session, project, "a", Better.SAME)

    assert [row.better for row in session.scalars(select(Choice))] == [Better.SAME]


def test_the_last_verdict_comes_last(session: Session, project: Project) -> None:
    for image in "abca":
        choose(session, project, image, Better.SECOND)

    assert list(choices_of(session, project.id, "v1", "v2", by="ada")) == ["b", "c", "a"]


def test_each_person_has_verdicts_of_their_own(session: Session, project: Project) -> None:
    choose(session, project, "a", Better.SECOND)
    choose(session, project, "a", Better.FIRST, by="grace")

    assert choices_of(session, project.id, "v1", "v2", by="ada") == {"a": Better.SECOND}
    assert tally(session, project.id, "v1", "v2", IMAGES, by="grace").first == 1
    assert tally(session, project.id, "v1", "v2", IMAGES).judged == 2


def test_the_win_rate_leaves_out_the_pictures_that_were_the_same(session: Session, project: Project) -> None:
    for image, better in zip(IMAGES, (Better.SECOND, Better.SECOND, Better.FIRST, Better.SAME), strict=True):
        choose(session, project, image, better)

    found = tally(session, project.id, "v1", "v2", IMAGES)

    assert (found.first, found.second, found.same, found.win_rate) == (1, 2, 1, wilson(2, 3))


def test_without_a_decided_picture_there_is_no_win_rate(session: Session, project: Project) -> None:
    choose(session, project, "a", Better.SAME)

    assert tally(session, project.id, "v1", "v2", IMAGES).win_rate is None


def test_verdicts_about_pictures_that_are_no_longer_asked_about_do_not_count(
    session: Session, project: Project
) -> None:
    choose(session, project, "a", Better.SECOND)

    assert tally(session, project.id, "v1", "v2", ["b"]).judged == 0
