"""Captions without spaces are counted by character, all others exactly as the Java tool has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionloop.model.captions.ptb_tokens import tokenize
from captionloop.model.metrics import caption_tokens, evaluate_captions
from captionloop.model.metrics.word_changes import words_of

ENGLISH = {"1": ["A man's red car, e.g. a Ford.", "plan B."], "2": ["The dog & the cat 3 1/2"]}


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("一只狗。", "一 只 狗 。"),
        ("犬が走る", "犬 が 走 る"),
        ("红色的iPhone 手机, 3.5英寸", "红 色 的 iphone 手 机 3.5 英 寸"),
        ("หมาดี", "ห ม า ดี"),
        ("ឆ្កែ", "ឆ្ កែ"),
        ("བོད", "བོ ད"),
        ("𠮷野", "𠮷 野"),
    ],
)
def test_each_character_is_a_token(caption: str, tokens: str) -> None:
    assert caption_tokens({"": [caption]}) == {"": [tokens]}


@pytest.mark.parametrize("caption", ["Ein rotes Auto, z. B. ein Ford.", "красная машина", "सुंदर घर", "빨간 자동차"])
def test_scripts_with_spaces_are_tokenised_as_before(caption: str) -> None:
    assert caption_tokens({"": [caption]}) == tokenize({"": [caption]})


@given(st.lists(st.text(st.characters(max_codepoint=0x0DFF))))
def test_nothing_changes_where_there_are_spaces(captions: list[str]) -> None:
    assert caption_tokens({"": captions}) == tokenize({"": captions})
    for caption in captions:
        assert all(word == word.strip() for word in words_of(caption))


def test_a_caption_without_spaces_changes_nothing_for_the_others() -> None:
    assert caption_tokens(ENGLISH | {"3": ["一只狗"]}) == tokenize(ENGLISH) | {"3": ["一 只 狗"]}


def test_a_caption_with_one_wrong_character_is_mostly_right() -> None:
    references = {"1": ["一只棕色的狗在跑"], "2": ["两条蓝色的鱼在水里"]}
    found = evaluate_captions(references, {"1": "一只棕色的猫在跑", "2": "两条蓝色的鱼在水里"})
    assert found.per_image["1"].word_edit_rate == 1 / 8
    assert found.per_image["1"].bleu_1 == pytest.approx(7 / 8)
    assert 0 < found.per_image["1"].cider_d < found.per_image["2"].cider_d


def test_what_was_counted_is_said_beside_the_figures() -> None:
    chinese = evaluate_captions({"1": ["一只狗"], "2": ["鱼"]}, {"1": "一只狗", "2": "猫"})
    english = evaluate_captions({"1": ["a dog"], "2": ["fish"]}, {"1": "a dog", "2": "cat"})
    assert [note for note in chinese.notes if "each character counts as a word" in note]
    assert english.notes == []
    assert chinese.to_dict().keys() == english.to_dict().keys()
