"""What is particular to a script, by its blocks in Unicode."""

from __future__ import annotations

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


def _is_in(blocks: tuple[tuple[int, int], ...], character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in blocks)
