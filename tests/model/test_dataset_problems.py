"""What may be wrong with corrections: the rules, one by one."""

import pytest

from captionloop.model.dataset_problems import (
    Captioned,
    Problem,
    ProblemKind,
    caption_problems,
    disagreements,
    in_common,
    looks_like_a_test,
    missing_pictures,
    same_pictures,
)


def captioned(number: int, caption: str = "a cat", image: str | None = "p", annotator: str = "ada") -> Captioned:
    return Captioned(number, image, [caption], annotator)


@pytest.mark.parametrize(
    "caption",
    [
        "asdf", "ASDF asdf", "test", "Test 1", "testing!", "xxx", "x", "a b", "aaaa", "...", "", "123", "lorem ipsum",
        "qwertz", "sdfg", "sdkfjh", "caaaaat", "n/a", "hello", "fdsa",
    ],
)  # fmt: skip
def test_what_was_typed_to_try_something_out_looks_like_a_test(caption: str) -> None:
    assert looks_like_a_test(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "a cat", "two cats", "a test tube in a rack", "a man taking a driving test", "a tree", "cats", "rhythm", "tv",
        "a street sign that says stop", "猫", "eine Katze", "a boeing 747", "a zzz sign above a bed", "a book", "sheep",
        "🐈", "a letter x", "a sample of rocks",
    ],
)  # fmt: skip
def test_what_describes_a_picture_does_not(caption: str) -> None:
    assert not looks_like_a_test(caption)


def test_a_caption_that_the_vocabulary_lacks_is_named_by_its_correction() -> None:
    found = caption_problems([captioned(1), captioned(2, "a cat 🐈")], can_be_written=str.isascii)

    assert found == [Problem(ProblemKind.CANNOT_BE_WRITTEN, "2", (2,))]


def test_a_test_is_one_problem_and_not_two() -> None:
    assert [found.kind for found in caption_problems([captioned(1, "test")], can_be_written=lambda _: False)] == [
        ProblemKind.TEST
    ]


def test_a_picture_is_gone_when_there_is_none_or_its_file_is_missing() -> None:
    corrections = [captioned(1, image="here"), captioned(2, image="gone"), captioned(3, image=None)]

    found = missing_pictures(corrections, has_picture={"here"}.__contains__)

    assert [problem.subject for problem in found] == ["2", "3"]


def test_annotators_who_describe_different_things_disagree() -> None:
    corrections = [
        captioned(1, "a black cat sleeping on a sofa"),
        captioned(2, "two people ride bicycles along a river", annotator="bob"),
    ]

    assert disagreements(corrections) == [Problem(ProblemKind.DISAGREEMENT, "p", (2, 1))]


@pytest.mark.parametrize(
    ("caption", "annotator", "image"),
    [
        ("a cat lies on the couch", "bob", "p"),  # other words for it
        ("two people ride bicycles along a river", "ada", "p"),  # the same person
        ("two people ride bicycles along a river", "bob", "q"),  # another picture
        ("test", "bob", "p"),  # a problem of another kind
    ],
)
def test_others_do_not(caption: str, annotator: str, image: str) -> None:
    corrections = [
        captioned(1, "a black cat sleeping on a sofa"),
        captioned(2, caption, image=image, annotator=annotator),
    ]

    assert disagreements(corrections) == []


def test_the_strongest_disagreement_comes_first() -> None:
    corrections = [
        captioned(1, "a red car, a blue bus and a tree", image="some"),
        captioned(2, "a red kite, a dog, a man and a ball", image="some", annotator="bob"),
        captioned(3, "a cat", image="all"),
        captioned(4, "a dog", image="all", annotator="bob"),
    ]

    assert [problem.subject for problem in disagreements(corrections)] == ["all", "some"]


def test_pictures_that_look_alike_are_one_problem_whatever_their_order() -> None:
    corrections = [captioned(1, image="p"), captioned(2, image="q")]

    expected = [Problem(ProblemKind.SAME_PICTURE, "p q", (1, 2))]
    assert same_pictures(corrections, [("q", "p", "without a correction"), ("p", "without too")]) == expected


def test_captions_without_words_have_all_in_common() -> None:
    assert in_common("", "the") == 1.0
