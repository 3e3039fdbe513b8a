"""The form in which texts are searched: without case, accents and other marks that people leave out when they type.

A text contains another one if its search form contains the other's. `correction.search_text` holds such forms, so a
change here needs a migration that writes them anew.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from captionloop.model.captions.text import composed

# Canonical combining classes (UAX #44, table 15) of marks that may be left out: strokes, nuktas of Indic scripts,
# Hebrew points, Arabic and Syriac vowels, accents. The others spell other words: the virama of Indic scripts, voiced
# kana, vowels and tones of Thai, Lao and Tibetan.
_LEFT_OUT = frozenset({1, 7, *range(10, 37), *range(200, 241)})
# Letters that Unicode does not decompose, and that people type without their stroke, dot or ligature; Arabic letters as
# Lucene's ArabicNormalizer and PersianNormalizer have it; marks that keyboards have only in their straight form.
_TYPED = {
    "ı": "i", "ł": "l", "đ": "d", "ð": "d", "ø": "o", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th",
    "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ٱ": "ا", "ـ": "",
    "’": "'", "‘": "'", "ʼ": "'", "׳": "'", "“": '"', "”": '"', "„": '"', "״": '"',
}  # fmt: skip


def search_form(text: str) -> str:
    """A text as it is searched; the same for canonically and compatibly equivalent texts. Idempotent.

    Invisible characters (soft hyphens, joiners, directional marks) are left out.
    """
    if text.isascii():
        return text.lower()
    return composed("".join(map(_folded, composed(text))))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    typed = "".join(_TYPED.get(part, part) for part in folded if not _is_left_out(part))
    return unicodedata.normalize("NFC", typed)


def _is_left_out(character: str) -> bool:
    return unicodedata.combining(character) in _LEFT_OUT or unicodedata.category(character) == "Cf"
