"""The dataset is looked through when something changed, and otherwise remembered."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session
from tests.model.test_corrections import NOON, PICTURE_A, PICTURE_B, new_project, record

from captionloop.home import Home
from captionloop.model import corrections, dataset_watch, review
from captionloop.model.database import CorrectionState, Database, Image
from captionloop.model.dataset_problems import ProblemKind
from captionloop.model.dataset_watch import DatasetWatch, Looked


@pytest.fixture
def session(database: Database, home: Home) -> Iterator[Session]:
    with database.session() as opened:
        for sha256 in (PICTURE_A, PICTURE_B):
            home.image(sha256).parent.mkdir(parents=True)
            home.image(sha256).touch()
            opened.add(Image(sha256=sha256, size_bytes=1, width=1, height=1))
        yield opened


@pytest.fixture
def project(session: Session) -> int:
    return new_project(session, 1)


class Asked:
    """A vocabulary without signs, and what it was asked."""

    def __init__(self) -> None:
        self.captions: list[str] = []

    def __call__(self, caption: str) -> bool:
        self.captions.append(caption)
        return caption.isascii()


def look(watch: DatasetWatch, session: Session, project: int, asked: Asked, vocabulary: str = "v1") -> Looked:
    return watch.look(session, project, vocabulary=vocabulary, can_be_written=asked)


def test_nothing_is_asked_twice(session: Session, project: int, home: Home) -> None:
    watch, asked = DatasetWatch(home), Asked()
    corrections.upsert(session, project, record(annotation_id=1, captions=["a cat 🐈"]))
    first = look(watch, session, project, asked)
    assert look(watch, session, project, asked) is first
    corrections.upsert(session, project, record(annotation_id=2, captions=["a dog"], updated_at=NOON + timedelta(1)))

    second = look(watch, session, project, asked)

    assert asked.captions == ["a cat 🐈", "a dog"]
    assert [problem.kind for problem in second.problems] == [ProblemKind.CANNOT_BE_WRITTEN]


def test_another_vocabulary_is_asked_about_everything(session: Session, project: int, home: Home) -> None:
    watch, asked = DatasetWatch(home), Asked()
    corrections.upsert(session, project, record())
    look(watch, session, project, asked)

    look(watch, session, project, asked, vocabulary="v2")

    assert asked.captions == ["a cat", "a cat"]


def test_many_new_captions_are_asked_about_look_by_look(
    session: Session, project: int, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_watch, "_CAPTIONS_AT_ONCE", 2)
    watch, asked = DatasetWatch(home), Asked()
    for number in range(3):
        corrections.upsert(session, project, record(annotation_id=number, captions=[f"{number} cats 🐈"]))

    looks = [look(watch, session, project, asked) for _ in range(3)]

    assert [found.unchecked for found in looks] == [1, 0, 0]
    assert [len(found.problems) for found in looks] == [2, 3, 3]


def test_what_is_left_out_or_gone_has_no_problem_and_holds_out_nothing(
    session: Session, project: int, home: Home
) -> None:
    watch, asked = DatasetWatch(home), Asked()
    corrections.upsert(session, project, record(annotation_id=1, captions=["test"]))
    corrections.upsert(session, project, record(annotation_id=2, captions=["test"], state=CorrectionState.SKIPPED))
    assert len(look(watch, session, project, asked).problems) == 1

    review.decide(session, project, 1, by="lea", left_out=True)

    assert look(watch, session, project, asked) == Looked(problems=[], held_out=frozenset(), unchecked=0)


def test_a_picture_without_a_file_is_a_problem(session: Session, project: int, home: Home) -> None:
    home.image(PICTURE_A).unlink()
    corrections.upsert(session, project, record())

    (problem,) = look(DatasetWatch(home), session, project, Asked()).problems

    assert problem.kind is ProblemKind.PICTURE_GONE


def test_near_duplicates_are_asked_for_and_shown(session: Session, project: int, home: Home) -> None:
    corrections.upsert(session, project, record(annotation_id=1))
    corrections.upsert(session, project, record(annotation_id=2, image_sha256=PICTURE_B))
    watch = DatasetWatch(home, near_duplicates=lambda _session, _project: [(PICTURE_A, PICTURE_B)])

    (problem,) = look(watch, session, project, Asked()).problems

    assert (problem.kind, problem.corrections) == (ProblemKind.SAME_PICTURE, (1, 2))
