"""Where the comparison of two versions is found, and how its images are ordered."""

import pytest
from tests.support.versions import FinishedRun

from captionloop.home import Home
from captionloop.model.evaluation.comparison_file import ComparedImage, EvaluatedCaption, write_comparison
from captionloop.model.versions.comparisons import fewer_words, find_comparison, ordered
from captionloop.model.versions.store import VersionInfo


@pytest.fixture
def pair(finished: FinishedRun) -> tuple[VersionInfo, VersionInfo]:
    first = finished.store.get(finished.project.id, finished.base.name)
    return first, finished.version


def keep(home: Home, finished: FinishedRun) -> None:
    captions = dict.fromkeys(finished.held_out, "the same of both")
    write_comparison(
        home.comparison(finished.project.id, finished.base.name, finished.version.version),
        champion=finished.base.name, references=finished.held_out, champion_captions=captions,
        candidate_captions=captions, corpus=finished.held_out.values(), snapshot="abc",
    )  # fmt: skip


def test_the_run_of_a_version_has_compared_it_with_the_champion_of_the_time(
    home: Home, finished: FinishedRun, pair: tuple[VersionInfo, VersionInfo]
) -> None:
    found = find_comparison(home, finished.project.id, *pair)

    assert found is not None
    assert (found.first, found.second, found.made_at) == (
        finished.base.name, finished.version.version, finished.version.created_at,
    )  # fmt: skip


def test_a_comparison_made_on_request_takes_the_place_of_the_runs_own(
    home: Home, finished: FinishedRun, pair: tuple[VersionInfo, VersionInfo]
) -> None:
    keep(home, finished)

    found = find_comparison(home, finished.project.id, *pair)

    assert found is not None
    assert found.stored.snapshot == "abc"
    assert found.made_at > finished.version.created_at


def test_the_comparison_of_another_project_is_not_taken(
    home: Home, finished: FinishedRun, pair: tuple[VersionInfo, VersionInfo]
) -> None:
    keep(home, finished)

    found = find_comparison(home, finished.project.id + 1, *pair)

    assert found is not None
    assert found.stored.snapshot is None


def test_two_versions_that_nobody_compared_have_none(
    home: Home, finished: FinishedRun, pair: tuple[VersionInfo, VersionInfo]
) -> None:
    assert find_comparison(home, finished.project.id, pair[1], pair[0]) is None


def image(name: str, first: tuple[int, float], second: tuple[int, float]) -> ComparedImage:
    def written(word_edits: int, cider_d: float) -> EvaluatedCaption:
        return EvaluatedCaption("caption", cider_d, word_edits, word_edits / 10, exact_match=False)

    return ComparedImage(name, ("reference",), written(*first), written(*second))


IMAGES = [
    image("a", (1, 5.0), (1, 5.0)),
    image("b", (1, 5.0), (3, 2.0)),
    image("c", (4, 0.0), (1, 5.0)),
    image("d", (2, 1.0), (2, 3.0)),
]


@pytest.mark.parametrize(("order", "expected"), [("difference", "cbda"), ("worst", "bdac"), ("images", "abcd")])
def test_images_are_ordered(order: str, expected: str) -> None:
    assert "".join(found.image for found in ordered(IMAGES, order)) == expected


def test_fewer_words_to_change_are_for_the_second() -> None:
    assert [fewer_words(found) for found in IMAGES] == [0, -2, 3, 0]
