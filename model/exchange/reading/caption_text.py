"""Validation of caption fields: one or several single-line texts, or an error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from captionloop.model.exchange.reading.rows import RowError

LONGEST_CAPTION = 10_000  # characters; more is a document

# Invisible, and some of them cannot be stored: PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair.
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
# Missing values as text: what pandas reads as such (`read_csv`, na_values), and what it and others write; in lower
# case, with slashes, and without enclosing punctuation.
_NOTHING = frozenset(
    {
        "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "n/a", "n.a", "na", "nan",
        "nat", "none", "null", "nil", "undefined", "#value!", "#ref!", "#name?", "#div/0!", "#num!", "#null!",
    }
)  # fmt: skip
_AROUND_NOTHING = " .()<>[]'\""
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_ITEM = re.compile(r"""u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)
_BETWEEN = re.compile(r"\s*(,?)\s*")
_CLOSING = {"[": "]", "(": ")"}
_OPENED = re.compile(r"""[\[(]\s*u?['"]""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|\n|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " ", "a": " ", "v": " ", "\n": ""}


def checked_captions(value: object) -> tuple[str, ...]:
    """The captions in a field: a text or a list of texts, each on one line and stripped.

    A text that is a list literal of Python or JSON (`['a red chair', 'a chair']`) is read as that list, since programs
    write such lists into tables. A malformed list is refused, except inside a list: `["[a chair]"]` is a caption in
    brackets.

    Raises:
        RowError: there is none, or one is empty, too long, a missing value ("nan"), or has control characters.
    """
    is_list = isinstance(value, list)
    items = value if isinstance(value, list) else [value]
    captions = tuple(_checked(text) for item in items for text in _texts(item, is_in_list=is_list))
    if not captions:
        raise RowError("There is no caption.")
    return captions


def lines_of(text: str) -> list[str]:
    """The lines of a text file that are not empty."""
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def checked_texts(text: str, *, by_line: bool) -> tuple[str, ...]:
    """The captions in a text file of one picture: the whole text, or each line that is not empty.

    Unlike a field, it holds what a person wrote, so that `[a chair]` is a caption in brackets.

    Raises:
        RowError: as `checked_captions`.
    """
    captions = tuple(map(_checked, lines_of(text) if by_line else [text]))
    if not captions:
        raise RowError("There is no caption.")
    return captions


def shown(value: object) -> str:
    """A value of a JSON document, for messages."""
    constants = [(None, "null"), (True, "true"), (False, "false")]
    return next((name for constant, name in constants if value is constant), f"{value!r:.40}")


def _checked(text: str) -> str:
    if odd := CONTROL.search(text):
        raise RowError(f"The caption holds the character U+{ord(odd.group()):04X}, which cannot be shown.")
    caption = " ".join(text.split())
    if not caption:
        raise RowError("The caption is empty.")
    if _stands_for_nothing(caption):
        raise RowError(f"The caption is {caption!r:.40}, which stands for an empty cell; take the row out.")
    if _BYTES.fullmatch(caption):
        raise RowError(f"The caption is {caption:.40}, bytes as Python shows them; write the text itself.")
    if len(caption) > LONGEST_CAPTION:
        raise RowError(f"The caption has {len(caption):,} characters; the limit is {LONGEST_CAPTION:,}.")
    return caption


def _stands_for_nothing(caption: str) -> bool:
    """Whether a caption is what programs and people write where there is none: also a dash, or a question mark."""
    plain = caption.casefold().replace("\\", "/").strip(_AROUND_NOTHING)
    return plain in _NOTHING or all(unicodedata.category(sign)[0] in "PZ" for sign in caption)


# Lists as text -------------------------------------------------------------------------------------------------------


def _texts(value: object, *, is_in_list: bool) -> list[str]:
    if not isinstance(value, str):
        raise RowError(f"The caption is {shown(value)}; expected a text.")
    text = value.strip()
    if text[:2] in ("{'", '{"', "{}") and text.endswith("}"):
        raise RowError(f"The caption is the object {text:.40}; expected a text, or a list of texts.")
    if not _begins_like_a_list(text):
        return [value]
    items = _items(text)
    if items is None and not is_in_list:
        raise RowError(
            f'The caption is the list {text:.40}, whose texts cannot be told; expected ["each text", "in marks"].'
        )
    return [value] if items is None else items


def _begins_like_a_list(text: str) -> bool:
    if text.startswith("["):
        return text.endswith("]") or _OPENED.match(text) is not None
    # In parentheses only complete lists of texts: captions may begin with a parenthesis.
    is_tuple = text.startswith("(") and text.endswith(")") and _OPENED.match(text) is not None
    return text.startswith("array([") or (is_tuple and _items(text) is not None)


def _items(text: str) -> list[str] | None:
    """The texts in brackets, separated by commas, or by white space as NumPy prints them; None: not a list."""
    if text[-1] != _CLOSING.get(text[0]):
        return None
    last = len(text) - 1
    items: list[str] = []
    separators: set[str] = set()
    start = len(text) - len(text[1:].lstrip())
    while found := _ITEM.match(text, start):
        items.append(_unescaped(found.group(1)[1:-1]))
        between = _BETWEEN.match(text, found.end())
        assert between is not None  # it may be empty
        start = between.end()
        if start < last:
            separators.add(between.group(1) or between.group()[:1])
    is_one_kind = separators <= {","} or all(map(str.isspace, separators))
    return items if start == last and is_one_kind else None


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _with_pairs_joined(_ESCAPE.sub(lambda found: "".join(_meant(found.group(1))), text))


def _meant(escape: str) -> Iterator[str]:
    if escape[0] in "uUx" and len(escape) > 1:
        number = int(escape[1:], 16)
        yield chr(number) if number <= 0x10FFFF else "\ufffd"
    else:
        yield _ESCAPED.get(escape, escape)


def _with_pairs_joined(text: str) -> str:
    """Joins surrogate pairs, which is how JSON escapes an emoji."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
