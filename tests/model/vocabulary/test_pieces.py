"""Which pieces captions ask for, and that they are the same everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.languages import captions

from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.starter.languages import LANGUAGES
from captionloop.model.starter.pool import example
from captionloop.model.vocabulary import pieces
from captionloop.model.vocabulary.pieces import missing_pieces
from captionloop.model.vocabulary.wordpiece import extended_tokenizer

ROOT = Path(__file__).parents[3]
STARTER = load_checkpoint("starter")
SIZE = STARTER.model.config.text_config.vocab_size
BACKEND = extended_tokenizer(STARTER.tokenizer, [], size=SIZE, start_id=SIZE - 2).backend_tokenizer


def drawn(language: str, count: int = 48) -> list[str]:
    return [LANGUAGES[language](example("pieces", index)[0]) for index in range(count)]


def test_each_character_is_there_at_the_beginning_and_within() -> None:
    found = missing_pieces(BACKEND, ["Ёж", "猫"])
    assert set(found) >= {"ё", "##ё", "ж", "##ж", "猫", "##猫"}


def test_what_is_known_is_not_asked_for() -> None:
    assert not set(missing_pieces(BACKEND, drawn("de"))) & STARTER.tokenizer.get_vocab().keys()


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", {"weiße", "über", "##s"} - STARTER.tokenizer.get_vocab().keys()),
        ("ru", {"красн", "##ая", "перед", "слева"}),
        ("el", {"πάνω", "από", "κόκκιν", "##η"}),
        ("ar", {"صغير", "##ة", "سيارة", "فوق"}),
        ("hi", {"एक", "छोट", "##ी", "बिल्ली"}),
        ("zh", {"##房子", "##汽车", "##雨伞"}),
        ("ja", {"小さな", "##の左にある", "##ボート"}),
    ],
)
def test_words_stems_endings_and_units_are_pieces(language: str, expected: set[str]) -> None:
    assert set(missing_pieces(BACKEND, drawn(language))) >= expected


def test_words_that_come_once_share_their_parts() -> None:
    longest = [max(map(len, missing_pieces(BACKEND, captions(language))), default=0) for language in ("th", "ka", "hy")]
    assert min(longest) > 3


def test_no_more_than_a_bound_beside_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST", 5)
    found = missing_pieces(BACKEND, captions("ru"))
    assert [len(piece.removeprefix("##")) > 1 for piece in found].count(True) == 5
    assert {"ё", "##ё"} <= set(found)


def test_a_mark_is_never_within_a_word() -> None:
    assert "##»" not in missing_pieces(BACKEND, ["«кот»"])


def test_no_captions_ask_for_no_pieces() -> None:
    assert missing_pieces(BACKEND, []) == []
    assert missing_pieces(BACKEND, ["", "\u200d", "a cat."]) == []


def test_each_process_comes_to_the_same_pieces() -> None:
    """Several train together, and one that is killed is gone on from: their rows have to mean the same."""
    code = (
        "import json; from tests.model.vocabulary.test_pieces import *;"
        "print(json.dumps(missing_pieces(BACKEND, [*captions('th'), *captions('ru'), *drawn('zh'), *drawn('de')])))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "4"))
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert len(json.loads(outputs[0])) > 300
