"""The figures are those of pycocoevalcap, and what it lacks means what it says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.rouge.rouge import Rouge

from captionloop.errors import SettingsError
from captionloop.model.metrics import Evaluation, compare_captions, evaluate_captions
from captionloop.model.metrics.scores import Tokens, _rouge_l, bleu_4_from_counts, bleu_counts
from captionloop.model.metrics.word_changes import word_edits

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def golden() -> Evaluation:
    return evaluate_captions(GOLDEN["references"], GOLDEN["captions"])


@pytest.mark.parametrize("score", sorted(GOLDEN["corpus"]))
def test_corpus_scores_agree_with_the_published_ones(golden: Evaluation, score: str) -> None:
    assert getattr(golden, score) == pytest.approx(GOLDEN["corpus"][score], abs=1e-9)


@pytest.mark.parametrize("score", sorted(GOLDEN["per_image"]))
def test_scores_of_each_image_agree_with_the_published_ones(golden: Evaluation, score: str) -> None:
    found = {image: getattr(scores, score) for image, scores in golden.per_image.items()}
    assert found == pytest.approx(GOLDEN["per_image"][score], abs=1e-9)


def test_bleu_of_any_set_of_images_comes_from_their_counts(golden: Evaluation) -> None:
    counts = bleu_counts(Tokens.of(GOLDEN["references"], GOLDEN["captions"]))
    assert bleu_4_from_counts(counts.sum(axis=0, keepdims=True))[0] == pytest.approx(golden.bleu_4, abs=1e-12)
    some = dict(list(GOLDEN["captions"].items())[40:90])
    alone = evaluate_captions({image: GOLDEN["references"][image] for image in some}, some)
    assert bleu_4_from_counts(counts[40:90].sum(axis=0, keepdims=True))[0] == pytest.approx(alone.bleu_4, abs=1e-12)


@pytest.mark.parametrize(
    ("caption", "reference", "edits"),
    [
        ("a red car", "a red car", 0),
        ("A red  car .", "a red car.", 0),
        ("a red car", "a blue car", 1),
        ("a car", "a red car", 1),
        ("a big red car", "a red car", 1),
        ("car red a", "a red car", 2),
        ("", "a red car", 3),
        ("a red car", "a red car.", 1),
    ],
)
def test_word_edits_are_what_a_person_would_have_to_change(caption: str, reference: str, edits: int) -> None:
    assert word_edits(caption, reference) == edits


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), min_size=2, max_size=4))
def test_rouge_l_of_any_texts_is_the_published_one(texts: list[str]) -> None:
    tokens = Tokens(references={"": texts[1:]}, captions={"": texts[:1]}, corpus=[])
    assert _rouge_l(tokens, "") == pytest.approx(Rouge().calc_score(texts[:1], texts[1:]), abs=1e-12)


def test_word_edit_rate_takes_the_nearest_reference_and_counts_words_of_the_corpus() -> None:
    references = {"a": ["a red car on a road", "one car"], "b": ["the dog"]}
    found = evaluate_captions(references, {"a": "a blue car on a road", "b": "the cat"})
    assert found.per_image["a"].word_edit_rate == pytest.approx(1 / 6)
    assert found.per_image["b"].word_edit_rate == pytest.approx(1 / 2)
    assert found.word_edit_rate == pytest.approx(2 / 8)


def test_exact_match_is_one_of_the_references_but_for_case_and_spacing() -> None:
    references = {"a": ["a car", "A Car, parked"], "b": ["a dog"], "c": ["a cat"]}
    found = evaluate_captions(references, {"a": "a car , parked", "b": "a dog", "c": "a cat."})
    assert [scores.exact_match for scores in found.per_image.values()] == [True, True, False]
    assert found.exact_match == pytest.approx(2 / 3)


def test_distinct_n_is_low_when_every_caption_is_the_same() -> None:
    references = {str(image): ["a dog"] for image in range(10)}
    same = evaluate_captions(references, dict.fromkeys(references, "a red car"))
    assert same.distinct_1 == pytest.approx(3 / 30)
    assert same.distinct_2 == pytest.approx(2 / 20)
    assert same.caption_words == 3


def test_a_corpus_changes_only_cider_d() -> None:
    references = {image: GOLDEN["references"][image] for image in list(GOLDEN["captions"])[:8]}
    captions = {image: GOLDEN["captions"][image] for image in references}
    alone = evaluate_captions(references, captions).to_dict()
    among = evaluate_captions(references, captions, corpus=GOLDEN["references"].values()).to_dict()
    assert [name for name in alone if alone[name] != among[name]] == ["cider_d"]


def test_a_corpus_of_the_same_images_leaves_the_scores_of_all_of_them() -> None:
    some = dict(list(GOLDEN["captions"].items())[:20])
    rest = [texts for image, texts in GOLDEN["references"].items() if image not in some]
    found = evaluate_captions({image: GOLDEN["references"][image] for image in some}, some, corpus=rest)
    for image, scores in found.per_image.items():
        assert scores.cider_d == pytest.approx(GOLDEN["per_image"]["cider_d"][image], abs=1e-9)


@pytest.mark.parametrize(
    ("references", "corpus", "is_said"),
    [
        pytest.param({"1": ["a red car"]}, [], True, id="a single image"),
        pytest.param({"1": ["a red car"], "2": ["a red car"]}, [], True, id="images with the same words"),
        pytest.param({"1": ["a red car"], "2": ["a blue boat"]}, [], False, id="two images"),
        pytest.param({"1": ["a red car"]}, [["a blue boat"]], False, id="a single image of many"),
    ],
)
def test_where_cider_d_can_only_be_nought_that_is_said(
    references: dict[str, list[str]], corpus: list[list[str]], is_said: bool
) -> None:
    found = evaluate_captions(references, {image: texts[0] for image, texts in references.items()}, corpus=corpus)

    assert (found.cider_d == 0) is is_said
    assert any("CIDEr-D is 0 whatever the captions say" in note for note in found.notes) is is_said


@pytest.mark.parametrize("caption", ["", "...", "😀", " "])
def test_a_caption_without_a_word_scores_nothing(caption: str) -> None:
    found = evaluate_captions({"a": ["a dog"], "b": ["a cat"]}, {"a": caption, "b": "a cat"})
    assert found.per_image["a"].cider_d == 0
    assert found.per_image["a"].word_edit_rate >= 1


def test_references_of_punctuation_alone_are_no_error() -> None:
    found = evaluate_captions({"a": ["..."]}, {"a": "..."})
    assert (found.cider_d, found.exact_match) == (0, 1)


@pytest.mark.parametrize(
    ("references", "captions", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, {"a": "x"}, "no caption for b"),
        ({"a": ["x"]}, {"a": "x", "b": "y"}, "no reference for b"),
        ({"a": ["x"], "b": []}, {"a": "x", "b": "y"}, "no reference for b"),
        ({f"i{n}": ["x"] for n in range(7)}, {"i0": "x"}, "no caption for i1, i2, i3, i4, i5 and 1 more"),
        ({}, {}, "no caption to score"),
    ],
)
def test_ids_that_do_not_fit_are_named(
    references: dict[str, list[str]], captions: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        evaluate_captions(references, captions)


def test_meteor_without_java_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="no java is on the PATH"):
        evaluate_captions({"a": ["x"]}, {"a": "x"}, meteor=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR is a Java program and there is no Java here")
def test_meteor_is_there_where_java_is() -> None:
    found = evaluate_captions(
        {"a": ["a red car"], "b": ["the dog runs"]}, {"a": "a red car", "b": "a bird"}, meteor=True
    )
    assert found.meteor is not None
    assert found.per_image["a"].meteor == pytest.approx(1.0, abs=0.05)
    assert found.per_image["b"].meteor == pytest.approx(0.0, abs=0.2)
    assert found.to_dict()["meteor"] == found.meteor


def test_a_comparison_is_the_difference_of_two_evaluations() -> None:
    references = {image: GOLDEN["references"][image] for image in list(GOLDEN["captions"])[:40]}
    captions = {image: GOLDEN["captions"][image] for image in references}
    rng = np.random.default_rng(0)
    worse = {image: " ".join(rng.permutation(caption.split())) for image, caption in captions.items()}
    found = compare_captions(references, worse, captions)
    first, second = evaluate_captions(references, worse), evaluate_captions(references, captions)
    assert found.difference == pytest.approx(second.cider_d + second.bleu_4 - first.cider_d - first.bleu_4, abs=1e-9)
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.interval[0] > 0
    assert found.probability > 0.99
    back = compare_captions(references, captions, worse)
    assert back.difference == pytest.approx(-found.difference)
    assert back.probability == pytest.approx(1 - found.probability)


def test_the_same_captions_are_no_better() -> None:
    references = {"a": ["a dog"], "b": ["a cat"]}
    found = compare_captions(references, {"a": "x", "b": "y"}, {"a": "x", "b": "y"})
    assert (found.difference, found.evidence, found.probability, found.same_captions) == (0, 0, 0.5, True)
