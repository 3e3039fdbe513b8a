"""The search form of a text as migration 0014 wrote it into corrections that were there already.

A copy of the code of then. Nothing else may use it, and it imports nothing of ours, so that the migration does the same
in every release (`tests/model/migrations/test_migrations.py`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain, groupby

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LEFT_OUT = frozenset({1, 7, *range(10, 37), *range(200, 241)})  # canonical combining classes
_TYPED = {
    "ı": "i", "ł": "l", "đ": "d", "ð": "d", "ø": "o", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th",
    "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ٱ": "ا", "ـ": "",
    "’": "'", "‘": "'", "ʼ": "'", "׳": "'", "“": '"', "”": '"', "„": '"', "״": '"',
}  # fmt: skip


def search_form(text: str) -> str:
    text = _UNSTORABLE.sub("\ufffd", text)
    if text.isascii():
        return text.lower()
    return _composed("".join(map(_folded, _composed(text))))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    typed = "".join(_TYPED.get(part, part) for part in folded if not _is_left_out(part))
    return unicodedata.normalize("NFC", typed)


def _is_left_out(character: str) -> bool:
    return unicodedata.combining(character) in _LEFT_OUT or unicodedata.category(character) == "Cf"


def _composed(text: str) -> str:
    """NFC. Python's own sorts the marks on a letter by insertion, which takes hours on a text of marks alone."""
    decomposed = "".join(map(_decomposed, text))
    ordered = (
        sorted(run, key=unicodedata.combining) if are_marks else run
        for are_marks, run in groupby(decomposed, lambda character: unicodedata.combining(character) > 0)
    )
    return unicodedata.normalize("NFC", "".join(chain.from_iterable(ordered)))


@lru_cache(maxsize=4096)
def _decomposed(character: str) -> str:
    return unicodedata.normalize("NFD", character)
