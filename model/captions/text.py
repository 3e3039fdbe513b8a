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
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import TYPE_CHECKING

from captionloop.model.captions.scripts import is_ideograph

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OPENING = frozenset("([{#$@~¿¡«“‘„‚（【「『《〈")
_CLOSING = frozenset(
    ")]},.;:!?%…»”，。、！？：；）】」』》〉"
    "،؛؟۔٪"  # Arabic, Persian, Urdu
    "।॥"  # the scripts of India
    "։՝"  # Armenian
    "።፣፤፥፦፧"  # Ethiopic
    "។៕៖၊။།"  # Khmer, Burmese, Tibetan
)
_JOINING = frozenset(
    "-/\\_‐‑"  # hyphens, and other marks that stand within a word …
    "־׳״"  # … in Hebrew
    "՞՛՜"  # … in Armenian
    "་"  # … in Tibetan
    "・〜"  # … in Japanese
)
_HELD_BY_HYPHEN = _JOINING | frozenset(")]}%")  # (left)-hand, 50%-off
_FULL_WIDTH = frozenset("（【「『《〈，。、！？：；）】」』》〉")
_APOSTROPHES = frozenset("'’")
_LOW_QUOTES = {"“": "„", "‘": "‚"}  # „so“: what closes → what opens
# They tell letters of Persian, Sinhala and others how to join, and hold an emoji of several together.
_JOINERS = frozenset("\u200c\u200d")

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
    return lower_case(normalise_caption(one)) == lower_case(normalise_caption(other))


def lower_case(text: str) -> str:
    """As Unicode has it, a Greek word's last Σ as ς included, but for İ: an i, and not an i with a second dot."""
    return text.replace("İ", "i").lower()


def encode_caption(tokenizer: PreTrainedTokenizerBase, caption: str) -> list[int]:
    """Word-piece ids of a caption, without special tokens.

    "[SEP]" in a caption is encoded as text, not as the token that ends a sequence.
    """
    ids: list[int] = tokenizer(caption, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    return ids


def lead_in(tokenizer: PreTrainedTokenizerBase, prompt: str, *, token: str | None = None) -> list[int]:
    """Ids between the start token and a caption: the token of its style, if that has one, and the prompt's pieces.

    A prompt with characters that the tokenizer lacks is left out: it says nothing to the model, until a run has
    extended the vocabulary for it.
    """
    style = [] if token is None else [tokenizer.convert_tokens_to_ids(token)]
    pieces = encode_caption(tokenizer, prompt)
    return style if tokenizer.unk_token_id in pieces else [*style, *pieces]


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


def unwritable(tokenizer: PreTrainedTokenizerBase, caption: str) -> list[str]:
    """What of a caption the model cannot write, each once: characters, or a word of which it can write each."""
    found: dict[str, None] = {}
    for token in split_tokens(caption):
        if not is_representable(tokenizer, token):
            characters = [character for character in token if not is_representable(tokenizer, character)]
            found |= dict.fromkeys(characters or [token])
    return list(found)


def split_tokens(text: str) -> list[str]:
    """Words and punctuation marks, split as `transformers`' BERT tokenizers do before they look for word pieces."""
    return split_at_spaces(text)[0]


def split_at_spaces(text: str) -> tuple[list[str], list[bool]]:
    """The words and punctuation marks, and for each whether white space precedes it."""
    tokens: list[list[str]] = []  # by characters
    spaces: list[bool] = []
    space, in_word, joiner = False, False, ""
    for character in composed(text):
        kind = _kind(character)
        if kind == "joiner":
            joiner = character
            continue
        if kind == "space":
            space, in_word = True, False
        elif kind == "word" and in_word:
            tokens[-1] += _between(tokens[-1][-1], joiner, character), character
        elif kind != "none":
            tokens.append([character])
            spaces.append(space)
            space, in_word = False, kind == "word"
        if kind != "none":
            joiner = ""
    return ["".join(characters) for characters in tokens], spaces


def composed(text: str) -> str:
    """NFC. Python's own sorts the marks on a letter by insertion, which takes hours on a text of marks alone."""
    if text.isascii():
        return text
    decomposed = "".join(map(_decomposed, text))
    ordered = (
        sorted(run, key=unicodedata.combining) if are_marks else run
        for are_marks, run in groupby(decomposed, lambda character: unicodedata.combining(character) > 0)
    )
    return unicodedata.normalize("NFC", "".join(chain.from_iterable(ordered)))


@lru_cache(maxsize=4096)
def _decomposed(character: str) -> str:
    return unicodedata.normalize("NFD", character)


def _between(before: str, joiner: str, after: str) -> str:
    """The joiner, where it does anything: in no script of ASCII."""
    return "" if before.isascii() or after.isascii() else joiner


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """ "space", "mark" (its own token), "word", or "none" (dropped), by the rules of BERT's `BasicTokenizer`.

    That drops a "joiner" as well, which captions need.
    """
    category = unicodedata.category(character)
    if character.isspace() or category == "Zs":
        return "space"
    if character in _JOINERS:
        return "joiner"
    if category.startswith("C") or character == "\ufffd":
        return "none"
    ascii_mark = character.isascii() and not character.isalnum()
    if ascii_mark or category.startswith("P") or is_ideograph(character):
        return "mark"
    return "word"


def join_tokens(tokens: list[str], own: Mapping[int, Sides] | None = None) -> str:
    """Join tokens with spaces, except where one is attached to the other.

    Args:
        own: by position, the sides of tokens that differ from ordinary English.
    """
    own = own or {}
    parts: list[str] = []
    holds_right = True
    for index, (token, sides) in enumerate(zip(tokens, sides_of_tokens(tokens), strict=True)):
        to_left, to_right = own.get(index, sides)
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


def is_mark(character: str) -> bool:
    """Whether it is a token by itself to BERT's splitting, and yet no ideograph: punctuation, and signs of ASCII."""
    return _kind(character) == "mark" and not is_ideograph(character)


def _sides(tokens: list[str], index: int) -> Sides:
    token = tokens[index]
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    if token in _FULL_WIDTH or is_ideograph(token[0]):
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
    return mark in ".٫٬"


def _is_inside_abbreviation(tokens: list[str], index: int) -> bool:
    """The first full stop of "e.g." or "p.m." (single letters, and another one follows), and that of "name.com"."""
    if tokens[index] != "." or not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1], tokens[index + 1]
    single_letters = len(before) == len(after) == 1 and (before + after).isalpha()
    return (single_letters and tokens[index + 2 : index + 3] == ["."]) or before == "www" or after in ("com", "org")


def _quote_sides(tokens: list[str]) -> dict[int, Sides]:
    """For each mark that opens or closes, and each apostrophe, by position, the sides on which it is attached."""
    sides = _after_low_quotes(tokens)
    first_opening = tokens.index("‘") if "‘" in tokens else len(tokens)
    for mark in "'", "’", '"', "`":
        unpaired = []
        for index in (index for index, token in enumerate(tokens) if token == mark):
            is_inside = _is_apostrophe if mark in _APOSTROPHES else _is_gershayim
            if is_inside(tokens, index):
                sides[index] = (True, True)
            else:
                unpaired.append(index)
        # ’ closes what ‘ opened, so two of them are no pair.
        pairs = [] if mark == "’" else list(zip(unpaired[::2], unpaired[1::2], strict=False))
        for opening, closing in pairs:
            sides[opening], sides[closing] = (False, True), (True, False)
        for index in unpaired[2 * len(pairs) :]:
            sides[index] = _lone_quote(tokens, index, closes=mark == "’" and first_opening < index)
    return sides


def _after_low_quotes(tokens: list[str]) -> dict[int, Sides]:
    """The marks that close what a low one opened, as in „so“; without one they open."""
    sides: dict[int, Sides] = {}
    open_marks: Counter[str] = Counter()
    for index, token in enumerate(tokens):
        if token in _LOW_QUOTES.values():
            open_marks[token] += 1
        elif token in _LOW_QUOTES and open_marks[_LOW_QUOTES[token]]:
            open_marks[_LOW_QUOTES[token]] -= 1
            sides[index] = (True, False)
    return sides


def _is_apostrophe(tokens: list[str], index: int) -> bool:
    """Whether it stands within a word: don't, d'or, and beside a letter that English has not, l'été, м'яч, ג'ירפה."""
    if not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1].lower(), tokens[index + 1].lower()
    if not is_word(before):
        return False
    if after in _AFTER_APOSTROPHE:
        return True
    return is_word(after) and (before in _BEFORE_APOSTROPHE or not (before[-1] + after[0]).isascii())


def _is_gershayim(tokens: list[str], index: int) -> bool:
    """A straight quotation mark before the last letter of a Hebrew abbreviation: צה"ל."""
    if not 0 < index < len(tokens) - 1:
        return False
    before, after = tokens[index - 1], tokens[index + 1]
    return len(after) == 1 and _is_hebrew(before[-1]) and _is_hebrew(after)


def _is_hebrew(letter: str) -> bool:
    return "א" <= letter <= "ת"


def _lone_quote(tokens: list[str], index: int, *, closes: bool) -> Sides:
    """An unpaired mark closes (the girls' toys, a 5" disc, at the end of the text) or else opens ('til, '90s)."""
    mark, before = tokens[index], tokens[index - 1] if index else ""
    plural = mark in _APOSTROPHES and before.lower().endswith("s")
    to_left = closes or plural or before[-1:].isdigit() or index == len(tokens) - 1
    return to_left, not to_left
