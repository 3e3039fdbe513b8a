"""The rules for problems of corrections, one by one."""

import pytest

from captionloop.model.dataset.problems import (
    Captioned,
    Problem,
    ProblemKind,
    disagreement,
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
def test_a_description_of_a_picture_does_not_look_like_a_test(caption: str) -> None:
    assert not looks_like_a_test(caption)


def test_a_picture_is_gone_when_there_is_none_or_its_file_is_missing() -> None:
    corrections = [captioned(1, image="here"), captioned(2, image="gone"), captioned(3, image=None)]

    found = missing_pictures(corrections, has_picture={"here"}.__contains__)

    assert [problem.subject for problem in found] == ["2", "3"]


def test_annotators_who_describe_different_things_disagree() -> None:
    corrections = [
        captioned(1, "a black cat sleeping on a sofa"),
        captioned(2, "two people ride bicycles along a river", annotator="bob"),
    ]

    found = disagreement("p", corrections)

    assert found is not None
    assert found[1] == Problem(ProblemKind.DISAGREEMENT, "p", (2, 1))


@pytest.mark.parametrize(
    ("caption", "annotator"),
    [
        ("a cat lies on the couch", "bob"),  # other words for it
        ("two people ride bicycles along a river", "ada"),  # the same person
        ("test", "bob"),  # a problem of another kind
    ],
)
def test_other_pairs_of_captions_are_no_disagreement(caption: str, annotator: str) -> None:
    corrections = [captioned(1, "a black cat sleeping on a sofa"), captioned(2, caption, annotator=annotator)]

    assert disagreement("p", corrections) is None


def test_the_less_captions_have_in_common_the_stronger_is_the_disagreement() -> None:
    some = [captioned(1, "a red car, a blue bus, a tree"), captioned(2, "a red kite, a dog, a man", annotator="bob")]
    none = [captioned(3, "a cat"), captioned(4, "a dog", annotator="bob")]

    weaker, stronger = disagreement("some", some), disagreement("none", none)

    assert weaker is not None
    assert stronger is not None
    assert stronger[0] < weaker[0]


def test_pictures_that_look_alike_are_one_problem_whatever_their_order() -> None:
    corrections = [captioned(1, image="p"), captioned(2, image="q")]

    expected = [Problem(ProblemKind.SAME_PICTURE, "p q", (1, 2))]
    assert same_pictures(corrections, [("q", "p", "without a correction"), ("p", "without too")]) == expected


def test_captions_without_words_have_all_in_common() -> None:
    assert in_common("", "the") == 1.0
