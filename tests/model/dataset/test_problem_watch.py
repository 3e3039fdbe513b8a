"""The background search for problems: incremental and cached."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event

import pytest
from tests.model.dataset.test_corrections import NOON, PICTURE_A, PICTURE_B, new_project, record

from captionloop.errors import CheckpointError
from captionloop.home import Home
from captionloop.model.database import CorrectionState, Database, Image
from captionloop.model.dataset import corrections, review
from captionloop.model.dataset.corrections import CorrectionRecord
from captionloop.model.dataset.problem_watch import KnownProblems, ProblemWatch
from captionloop.model.dataset.problems import Problem, ProblemKind


class Asked:
    """A vocabulary without signs, and what it was asked."""

    def __init__(self) -> None:
        self.captions: list[str] = []

    def __call__(self, caption: str) -> bool:
        self.captions.append(caption)
        return caption.isascii()


class Alike:
    """Which images look alike, and how often somebody wanted to know."""

    def __init__(self, *groups: tuple[str, ...]) -> None:
        self.groups, self.asked = groups, 0

    def __call__(self, *_: object) -> tuple[tuple[str, ...], ...]:
        self.asked += 1
        return self.groups


@pytest.fixture
def project(database: Database, home: Home) -> int:
    with database.session() as session:
        for sha256 in (PICTURE_A, PICTURE_B):
            home.image(sha256).parent.mkdir(parents=True)
            home.image(sha256).touch()
            session.add(Image(sha256=sha256, size_bytes=1, width=1, height=1))
        return new_project(session, 1)


@pytest.fixture
def alike() -> Alike:
    return Alike()


@pytest.fixture
def watch(database: Database, home: Home, alike: Alike) -> Iterator[ProblemWatch]:
    made = ProblemWatch(database, home, near_duplicates=alike)
    yield made
    made.close()


@pytest.fixture
def keep(database: Database, project: int) -> Callable[[CorrectionRecord], None]:
    """What a sync does with a correction."""

    def kept(wanted: CorrectionRecord) -> None:
        with database.session() as session:
            corrections.upsert(session, project, wanted)

    return kept


def problems(watch: ProblemWatch, project: int, asked: Asked, vocabulary: str = "v1") -> KnownProblems:
    """What is known in the end."""
    return watch.problems(project, vocabulary=vocabulary, open_vocabulary=lambda: asked, patience_s=60)


Keep = Callable[[CorrectionRecord], None]


def test_no_caption_is_checked_twice(watch: ProblemWatch, project: int, keep: Keep) -> None:
    asked = Asked()
    keep(record(annotation_id=1, captions=["a cat 🐈"]))
    first = problems(watch, project, asked)
    assert problems(watch, project, asked) is first
    keep(record(annotation_id=2, captions=["a dog"], updated_at=NOON + timedelta(1)))

    second = problems(watch, project, asked)

    assert asked.captions == ["a cat 🐈", "a dog"]
    assert second == KnownProblems([Problem(ProblemKind.CANNOT_BE_WRITTEN, "1", (1,))], is_complete=True)


def test_a_test_is_one_problem_and_not_two(watch: ProblemWatch, project: int, keep: Keep) -> None:
    keep(record(captions=["xxx", "a cat 🐈"]))

    assert [found.kind for found in problems(watch, project, Asked()).problems] == [ProblemKind.TEST]


def test_another_vocabulary_is_asked_about_everything(watch: ProblemWatch, project: int, keep: Keep) -> None:
    asked = Asked()
    keep(record())
    problems(watch, project, asked)

    problems(watch, project, asked, vocabulary="v2")

    assert asked.captions == ["a cat", "a cat"]


def test_a_caller_without_patience_gets_what_is_known_and_that_more_may_come(
    watch: ProblemWatch, project: int, keep: Keep
) -> None:
    keep(record(annotation_id=1, captions=["test"]))
    may_go_on = Event()

    def slow(_: str) -> bool:
        return may_go_on.wait(60)

    def searched(patience_s: float) -> KnownProblems:
        return watch.problems(project, vocabulary="v1", open_vocabulary=lambda: slow, patience_s=patience_s)

    assert not searched(0).is_complete
    may_go_on.set()
    assert searched(60) == KnownProblems([Problem(ProblemKind.TEST, "1", (1,))], is_complete=True)


def test_what_keeps_a_look_from_its_end_is_told_and_the_next_one_tries_again(
    watch: ProblemWatch, project: int, keep: Keep
) -> None:
    keep(record())

    def broken() -> Asked:
        raise CheckpointError("no tokenizer")

    with pytest.raises(CheckpointError, match="no tokenizer"):
        watch.problems(project, vocabulary="v1", open_vocabulary=broken, patience_s=60)

    assert problems(watch, project, Asked()).is_complete


def test_what_is_left_out_or_gone_has_no_problem_until_it_is_used_again(
    watch: ProblemWatch, database: Database, project: int, keep: Keep, alike: Alike
) -> None:
    keep(record(annotation_id=1, captions=["test"]))
    keep(record(annotation_id=2, captions=["test"], state=CorrectionState.SKIPPED))
    asked = Asked()
    assert len(problems(watch, project, asked).problems) == 1

    with database.session() as session:
        review.decide(session, project, 1, by="lea", left_out=True)
    assert problems(watch, project, asked).problems == []
    with database.session() as session:
        review.undo(session, project, by="lea")

    assert problems(watch, project, asked).problems == [Problem(ProblemKind.TEST, "1", (1,))]
    assert alike.asked == 1  # a decision changes no picture


def test_a_correction_that_says_something_else_is_looked_at_again(
    watch: ProblemWatch, project: int, keep: Keep
) -> None:
    keep(record(captions=["test"]))
    problems(watch, project, Asked())

    keep(record(captions=["a cat"], updated_at=NOON + timedelta(1)))

    assert problems(watch, project, Asked()).problems == []


def test_annotators_who_disagree_do_so_until_one_of_them_is_left_out(
    watch: ProblemWatch, database: Database, project: int, keep: Keep
) -> None:
    keep(record(annotation_id=1, captions=["two people ride bicycles"], annotator="ada"))
    keep(record(annotation_id=2, captions=["an empty kitchen"], annotator="bob"))
    assert problems(watch, project, Asked()).problems == [Problem(ProblemKind.DISAGREEMENT, PICTURE_A, (1, 2))]

    with database.session() as session:
        review.decide(session, project, 2, by="lea", left_out=True)

    assert problems(watch, project, Asked()).problems == []


def test_a_picture_without_a_file_is_a_problem(watch: ProblemWatch, project: int, keep: Keep, home: Home) -> None:
    home.image(PICTURE_A).unlink()
    keep(record())

    (problem,) = problems(watch, project, Asked()).problems

    assert problem.kind is ProblemKind.PICTURE_GONE


def test_near_duplicates_are_asked_for_and_shown(watch: ProblemWatch, project: int, keep: Keep, alike: Alike) -> None:
    keep(record(annotation_id=1))
    keep(record(annotation_id=2, image_sha256=PICTURE_B))
    alike.groups = ((PICTURE_A, PICTURE_B),)

    (problem,) = problems(watch, project, Asked()).problems

    assert (problem.kind, problem.corrections) == (ProblemKind.SAME_PICTURE, (1, 2))
