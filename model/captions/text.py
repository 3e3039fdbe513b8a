"""Captions as text: encoding, decoding, normal form, comparison.

BLIP's tokenizer is an uncased WordPiece (BERT's). It splits a caption at white space and around each punctuation mark
without recording which, so decoding gives "a woman ' s t - shirt ." for "a woman's t-shirt.". `normalise_caption`
splits a text as BERT does, then joins the tokens by the rules of ordinary English. Its result depends on the tokens
alone, not on the spaces between them. Hence, for any tokenizer whose vocabulary has the words,

    normalise_caption(decode_caption(encode_caption(text))) == normalise_caption(text)

for lower-case text. Where ids are ambiguous the rule is fixed: a hyphen always joins ("light - blue" becomes
"light-blue"), a dash (– or —) never does. If annotators write otherwise, `orthography` learns and restores it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OPENING = frozenset("([{#$@~¿¡«“‘„‚（【「『《〈")
_CLOSING = frozenset(")]},.;:!?%…»”，。、！？：；）】」』》〉")
_JOINING = frozenset("-/\\_‐‑")
_HELD_BY_HYPHEN = _JOINING | frozenset(")]}%")  # (left)-hand, 50%-off
_FULL_WIDTH = frozenset("（【「『《〈，。、！？：；）】」』》〉")
_APOSTROPHES = frozenset("'’")

_AFTER_APOSTROPHE = frozenset({"s", "t", "d", "m", "ll", "re", "ve"})  # woman's, don't, he'd, i'm, we'll, they're, i've
_BEFORE_APOSTROPHE = frozenset({"o", "d", "l", "y"})  # o'clock, d'or, l'eau, y'all


Sides = tuple[bool, bool]
"""Whether a token is attached (no space) on its left, and on its right."""


def normalise_caption(text: str) -> str:
    """The normal form of a caption; case is kept.

    Characters are composed (NFC), control characters removed, and spaces around punctuation those of ordinary English.
    Idempotent. Two captions are the same if and only if their lower-case normal forms are equal (`same_caption`).
    """
    return join_tokens(split_tokens(text))


def same_caption(one: str, other: str) -> bool:
    """Whether they are equal except for case and spaces around punctuation, which the model cannot distinguish."""
    return normalise_caption(one).lower() == normalise_caption(other).lower()


def encode_caption(tokenizer: PreTrainedTokenizerBase, caption: str) -> list[int]:
    """Word-piece ids of a caption, without special tokens.

    "[SEP]" in a caption is encoded as text, not as the token that ends a sequence.
    """
    ids: list[int] = tokenizer(caption, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids


def decode_caption(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The caption of a sequence of ids, in its normal form.

    Special tokens are left out, and so are ids that the tokenizer lacks ([DEC] and [ENC] in the published models).
    Unlike `tokenizer.decode`, whose clean-up turns "do not" into "don't".
    """
    special = set(tokenizer.all_special_ids)
    known = len(tokenizer)
    pieces = tokenizer.convert_ids_to_tokens([int(i) for i in ids if int(i) < known and int(i) not in special])
    return normalise_caption(" ".join(pieces).replace(" ##", ""))


def is_representable(tokenizer: PreTrainedTokenizerBase, caption: str) -> bool:
    """Whether the model can generate this caption: encoding and decoding changes nothing but case.

    False for words outside the vocabulary (often emoji), for accents that the tokenizer strips, for empty text.
    """
    normal = normalise_caption(caption)
    return bool(normal) and same_caption(decode_caption(tokenizer, encode_caption(tokenizer, caption)), normal)


def split_tokens(text: str) -> list[str]:
    """Words and punctuation marks, split as `transformers`' BERT tokenizers do before they look for word pieces."""
    return split_at_spaces(text)[0]


def split_at_spaces(text: str) -> tuple[list[str], list[bool]]:
    """The words and punctuation marks, and for each whether white space precedes it."""
    tokens: list[str] = []
    spaces: list[bool] = []
    space, in_word = False, False
    for character in unicodedata.normalize("NFC", text):
        kind = _kind(character)
        if kind == "space":
            space, in_word = True, False
        elif kind == "word" and in_word:
            tokens[-1] += character
        elif kind != "none":
            tokens.append(character)
            spaces.append(space)
            space, in_word = False, kind == "word"
    return tokens, spaces


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """ "space", "mark" (its own token), "word", or "none" (dropped), by the rules of BERT's `BasicTokenizer`."""
    category = unicodedata.category(character)
    if character.isspace() or category == "Zs":
        return "space"
    if category.startswith("C") or character == "\ufffd":
        return "none"
    ascii_mark = character.isascii() and not character.isalnum()
    if ascii_mark or category.startswith("P") or _is_ideograph(character):
        return "mark"
    return "word"


def _is_ideograph(character: str) -> bool:
    """The CJK blocks that BERT splits into single characters (Hangul and kana are not among them)."""
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


def join_tokens(tokens: list[str], own: Mapping[str, Sides] | None = None) -> str:
    """Join tokens with spaces, except where one is attached to the other.

    Args:
        own: marks whose sides differ from ordinary English.
    """
    own = own or {}
    parts: list[str] = []
    holds_right = True
    for token, sides in zip(tokens, sides_of_tokens(tokens), strict=True):
        to_left, to_right = own.get(token, sides)
        if not (holds_right or to_left):
            parts.append(" ")
        parts.append(token)
        holds_right = to_right
    return "".join(parts)


def sides_of_tokens(tokens: list[str]) -> list[Sides]:
    """The sides on which each token is attached in the normal form."""
    quotes = _quote_sides(tokens)
    return [quotes.get(index) or _sides(tokens, index) for index in range(len(tokens))]


def is_word(token: str) -> bool:
    return bool(token) and _kind(token[0]) == "word"


def _sides(tokens: list[str], index: int) -> Sides:
    token = tokens[index]
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    if token in _FULL_WIDTH or _is_ideograph(token[0]):
        return True, True
    if token in _JOINING:
        held = is_word(before) or before in _HELD_BY_HYPHEN or before + token == ":/"
        return held, held or after[:1].isdigit()
    if _is_inside_number(token, before, after) or _is_inside_abbreviation(tokens, index):
        return True, True
    if token in _CLOSING:
        return True, False
    return False, token in _OPENING


def _is_inside_number(mark: str, before: str, after: str) -> bool:
    """3.5, 1,200 and 10:30, but not "in 2019, 5 people" nor "scene 1: 3 cars"."""
    if not (before[-1:].isdigit() and after[:1].isdigit()):
        return False
    if mark == ",":
        return len(before) <= 3 and before.isdigit() and len(after) == 3 and after.isdigit()
    if mark == ":":
        return len(before) <= 2 and before.isdigit() and len(after) == 2 and after.isdigit()
    return mark == "."


def _is_inside_abbreviation(tokens: list[str], index: int) -> bool:
    """The first full stop of "e.g." or "p.m." (single letters, and another one follows), and that of "name.com"."""
    if tokens[index] != "." or not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1], tokens[index + 1]
    single_letters = len(before) == len(after) == 1 and (before + after).isalpha()
    return (single_letters and tokens[index + 2 : index + 3] == ["."]) or before == "www" or after in ("com", "org")


def _quote_sides(tokens: list[str]) -> dict[int, Sides]:
    """For each straight quotation mark and apostrophe, by position, the sides on which it is attached."""
    sides: dict[int, Sides] = {}
    for mark in "'", "’", '"', "`":
        unpaired = []
        for index in (index for index, token in enumerate(tokens) if token == mark):
            if mark in _APOSTROPHES and _is_apostrophe(tokens, index):
                sides[index] = (True, True)
            else:
                unpaired.append(index)
        # ’ closes what ‘ opened, so two of them are no pair.
        pairs = [] if mark == "’" else list(zip(unpaired[::2], unpaired[1::2], strict=False))
        for opening, closing in pairs:
            sides[opening], sides[closing] = (False, True), (True, False)
        for index in unpaired[2 * len(pairs) :]:
            sides[index] = _lone_quote(tokens, index)
    return sides


def _is_apostrophe(tokens: list[str], index: int) -> bool:
    if not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1].lower(), tokens[index + 1].lower()
    return is_word(before) and (after in _AFTER_APOSTROPHE or (before in _BEFORE_APOSTROPHE and is_word(after)))


def _lone_quote(tokens: list[str], index: int) -> Sides:
    """An unpaired mark closes (the girls' toys, a 5" disc, at the end of the text) or else opens ('til, '90s)."""
    mark, before = tokens[index], tokens[index - 1] if index else ""
    closes = mark == "’" and "‘" in tokens[:index]
    plural = mark in _APOSTROPHES and before.lower().endswith("s")
    to_left = closes or plural or before[-1:].isdigit() or index == len(tokens) - 1
    return to_left, not to_left
