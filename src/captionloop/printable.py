"""Text from elsewhere, fit for a line of a log or a terminal.

A caption, a title, an address or a file's name may hold line breaks, which forge lines, escape sequences, which colour
a terminal or send it commands, and marks that turn the reading direction around. They are shown as `\\n` or `\\x1b`.
"""

import re

# Controls (C0, DEL, C1), separators of lines and paragraphs, marks of direction, halves of surrogate pairs. The joiners
# U+200C and U+200D stay: scripts and emoji are written with them.
_UNPRINTABLE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_IN_A_LINE = re.compile(f"[{_UNPRINTABLE}]")
_IN_A_TEXT = re.compile(f"(?!\n)[{_UNPRINTABLE}]")
_IN_JSON = re.compile(f"(?![\n\r\t])[{_UNPRINTABLE}]")


def one_line(text: str) -> str:
    """A text without what would not be printed; a line break is shown as `\\n`."""
    return _IN_A_LINE.sub(_escape, text)


def lines(text: str) -> str:
    """The same for a text of several lines, whose breaks are meant."""
    return _IN_A_TEXT.sub(_escape, text)


def json_text(text: str) -> str:
    """JSON that means the same, with what would not be printed as `\\uXXXX`, which can only stand in its strings."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()
