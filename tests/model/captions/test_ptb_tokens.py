"""The tokeniser is the Java tool's equal, to the character."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from tests.model.captions.odd_captions import odd_captions

from captionloop.errors import SettingsError
from captionloop.model.captions import ptb_tokens
from captionloop.model.metrics import tokenize, tokenize_line

DATA = Path(__file__).parents[2] / "data"
GOLDEN = json.loads((DATA / "golden.json").read_text(encoding="utf-8"))
# Made by `python -m tests.model.captions.make_java_tokens`, with the Java tool.
RECORDED = json.loads((DATA / "java_tokens.json").read_text(encoding="utf-8"))


def test_tokens_of_published_scores_agree() -> None:
    assert tokenize(GOLDEN["references"]) == GOLDEN["tokens"]["references"]
    captions = tokenize({image: [caption] for image, caption in GOLDEN["captions"].items()})
    assert {image: text for image, (text,) in captions.items()} == GOLDEN["tokens"]["captions"]


def test_odd_captions_agree_with_what_java_made_of_them() -> None:
    captions = {str(index): [caption] for index, (caption, _) in enumerate(RECORDED)}
    tokens = {str(index): [text] for index, (_, text) in enumerate(RECORDED)}
    assert tokenize(captions) == tokens


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java here to compare with")
def test_thousands_of_odd_captions_agree_with_java() -> None:
    captions = {str(index): [caption] for index, caption in enumerate(odd_captions(10_000, seed=20))}
    java = PTBTokenizer().tokenize({image: [{"caption": text} for text in texts] for image, texts in captions.items()})
    assert tokenize(captions) == java


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog can't swim.", "a dog ca n't swim"),
        ("I cannot; she's gonna", "i can not she 's gon na"),
        ("the U.S. flag, etc.", "the u.s. flag etc."),
        ('a "red" car (old) [new] {x}', "a red car -lrb- old -rrb- -lsb- new -rsb- -lcb- x -rcb-"),
        ("½ a pie for $5.00 or €3 or £2", "1/2 a pie for $ 5.00 or $ 3 or # 2"),
        ("a black-and-white cat -- asleep … no", "a black-and-white cat asleep no"),
        ("colour and theatre", "colour and theatre"),
        ("na\u00efve caf\u00e9's", "na\u00efve caf\u00e9 's"),
        ("soft\u00adly", "softly"),
        ("see http://x.org/a?b=c or me@x.org #tag @you", "see http://x.org/a?b=c or me@x.org #tag @you"),
        ("a smile 😀 here", "a smile here"),
        ("3 1/2 cups", "3\u00a01/2 cups"),
        ("see a.com/x\u0085", "see a.com/x"),
        ("see a.com/x\u0085,", "see a.com/x\u0085"),
        ("", ""),
        ("...", ""),
        ("两只猫", "两只猫"),
    ],
)
def test_penn_treebank_rules(caption: str, tokens: str) -> None:
    assert " ".join(tokenize_line(caption)) == tokens


def test_a_token_may_depend_on_the_next_caption_as_it_does_in_java() -> None:
    assert tokenize({"a": ["plan B."], "b": ["The end"]}) == {"a": ["plan b"], "b": ["the end"]}
    assert tokenize({"a": ["plan B."], "b": ["the end"]}) == {"a": ["plan b."], "b": ["the end"]}


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\u2028", "\x0b"])
def test_a_line_break_in_a_caption_does_not_shift_the_ones_after_it(line_break: str) -> None:
    assert tokenize({"a": [f"one{line_break}two", "three"]}) == {"a": ["one two", "three"]}


def test_images_keep_their_captions_even_empty_ones() -> None:
    assert tokenize({"a": ["", "x"], "b": [], "c": [""]}) == {"a": ["", "x"], "b": [], "c": [""]}
    assert tokenize({}) == {}


def test_another_build_of_the_lexer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pycocoevalcap"
    (package / "tokenizer").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(ptb_tokens, "find_spec", lambda name: _Spec([str(package)]))
    with pytest.raises(SettingsError, match="is not installed"):
        ptb_tokens._class_file()
    with zipfile.ZipFile(package / "tokenizer" / ptb_tokens._JAR, "w") as jar:
        jar.writestr(ptb_tokens._CLASS, b"another")
    with pytest.raises(SettingsError, match=r"is not Stanford CoreNLP 3\.4\.1"):
        ptb_tokens._class_file()


class _Spec:
    def __init__(self, locations: list[str]) -> None:
        self.submodule_search_locations = locations
