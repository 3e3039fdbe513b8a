from pathlib import Path

import pytest

from captionloop.errors import CheckpointError
from captionloop.model.evaluation.comparison_file import COMPARISON, read_comparison, write_comparison
from captionloop.model.evaluation.gate import judge

REFERENCES = {"aa": ["a red car", "a car"], "bb": ["a dog “here”"], "cc": ["a cat"]}
BEFORE = {"aa": "a blue car", "bb": "a dog", "cc": "a cat"}
AFTER = {"aa": "a red car", "bb": "a dog", "cc": "a cat on"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_comparison(
        tmp_path / COMPARISON, champion="v1", references=REFERENCES, champion_captions=BEFORE, candidate_captions=AFTER,
        corpus=REFERENCES.values(),
    )  # fmt: skip
    return tmp_path


def test_the_file_holds_what_people_and_both_versions_wrote(directory: Path) -> None:
    stored = read_comparison(directory / COMPARISON)
    assert stored is not None
    assert stored.champion == "v1"
    assert {image.image: list(image.references) for image in stored.images} == REFERENCES
    assert {image.image: image.champion.caption for image in stored.images} == BEFORE
    assert {image.image: image.candidate.caption for image in stored.images} == AFTER


def test_the_file_holds_each_images_figures(directory: Path) -> None:
    stored = read_comparison(directory / COMPARISON)
    assert stored is not None
    red_car = stored.images[0]
    assert (red_car.champion.word_edits, red_car.champion.exact_match) == (1, False)
    assert (red_car.candidate.word_edits, red_car.candidate.exact_match) == (0, True)
    assert red_car.candidate.cider_d > red_car.champion.cider_d


def test_the_difference_in_the_file_is_the_gates(directory: Path) -> None:
    stored = read_comparison(directory / COMPARISON)
    assert stored is not None
    verdict = judge(REFERENCES, BEFORE, AFTER, corpus=REFERENCES.values())
    assert stored.figures["score"].difference == pytest.approx(verdict.difference)
    assert stored.figures["score"].interval == pytest.approx(verdict.interval)


@pytest.mark.parametrize(
    ("style", "said"),
    [(None, ""), ("", "in the style without a name"), ("guide of May", "in the style 'guide of May'")],
)
def test_the_style_is_named_where_there_are_several(tmp_path: Path, style: str | None, said: str) -> None:
    path = tmp_path / COMPARISON
    write_comparison(
        path, champion="v1", references=REFERENCES, champion_captions=BEFORE, candidate_captions=AFTER,
        corpus=REFERENCES.values(), style=style,
    )  # fmt: skip
    stored = read_comparison(path)
    assert stored is not None
    assert (stored.style, stored.in_style) == (style, said)
    assert ("style" in path.read_text()) == (style is not None)


def test_an_older_version_has_none(tmp_path: Path) -> None:
    assert read_comparison(tmp_path / COMPARISON) is None


@pytest.mark.parametrize("content", ["{", "{}", '{"champion": "v1", "figures": {}, "images": [{}]}', "[]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / COMPARISON).write_text(content)
    with pytest.raises(CheckpointError, match=r"comparison\.json is damaged"):
        read_comparison(tmp_path / COMPARISON)
