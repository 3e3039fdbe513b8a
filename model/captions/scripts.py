"""What is particular to a script, by its blocks in Unicode."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
_KANA = (
    (0x3005, 0x3007),  # 々〆〇
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0xFF66, 0xFF9F),
)
_LETTERS_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
)

_MARKS_WITHOUT_SPACES = (
    (0x3000, 0x303F),  # 。、「」
    (0xFF01, 0xFF65),  # ，！（）, and letters of full width
)


def is_ideograph(character: str) -> bool:
    """The CJK blocks that BERT splits into single characters (Hangul and kana are not among them)."""
    return _is_in(_IDEOGRAPHS, character)


@lru_cache(maxsize=4096)
def is_japanese_or_chinese(character: str) -> bool:
    """An ideograph or kana."""
    return _is_in(_IDEOGRAPHS + _KANA, character)


@lru_cache(maxsize=4096)
def has_no_spaces(character: str) -> bool:
    """Whether its script is written without spaces between words."""
    return is_japanese_or_chinese(character) or _is_in(_LETTERS_WITHOUT_SPACES, character)


def is_written_without_spaces(text: str) -> bool:
    """Whether any of it is in a script without spaces between words."""
    return not text.isascii() and any(map(has_no_spaces, text))


def scripts_of(text: str) -> list[str]:
    """The scripts of its letters by Unicode's names, the most frequent first: Latin, Cyrillic, Cjk, Hangul …"""
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    return [name.title() for name, _ in Counter(filter(None, names)).most_common()]


def main_script(text: str) -> str | None:
    """The script that most of its letters are in; "Japanese" with any kana, "Chinese" with ideographs alone.

    None for a text without letters.
    """
    if any(_is_in(_KANA[1:], character) for character in text):
        return "Japanese"
    script = next(iter(scripts_of(text)), None)
    return "Chinese" if script in ("Cjk", "Ideographic") else script


def count_units(word: str) -> list[str]:
    """What is counted of a text without white space: the whole, but in scripts without spaces each character.

    As sacrebleu's `zh` and `char` tokenisers do, except that combining marks stay with the letter they belong to, as
    half a Thai or Burmese letter is none. "iPhone手机。" is "iPhone", "手", "机", "。".
    """
    if not is_written_without_spaces(word):
        return [word]
    units: list[list[str]] = []  # by characters
    goes_on = False  # whether a further letter belongs to the last unit
    for character in word:
        is_mark = unicodedata.category(character).startswith("M")
        is_own = _is_unit(character)
        if units and (is_mark or (goes_on and not is_own)):
            units[-1].append(character)
        else:
            units.append([character])
        goes_on = goes_on if is_mark else not is_own
    return ["".join(characters) for characters in units]


def _is_unit(character: str) -> bool:
    return has_no_spaces(character) or _is_in(_MARKS_WITHOUT_SPACES, character)


def _is_in(blocks: tuple[tuple[int, int], ...], character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in blocks)
