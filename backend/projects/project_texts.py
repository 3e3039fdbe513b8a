"""The texts of a Label Studio project in which people find the way to our pages: its description and instructions.

The description of an ML backend is not shown by Label Studio 1.23. People's own texts stay; ours is added below them.
"""

import html
import re

_SAID = "Captionloop shows what people changed and whether the model gets better:"
_OURS_IN_TEXT = re.compile(rf"\n*{re.escape(_SAID)}[^\n]*")
_BEGINS = "<p>Captionloop:"
# As `connect` wrote it before there were keys in it.
_OURS_IN_HTML = re.compile(rf"\n*(?:{re.escape(_BEGINS)}|<p>{re.escape(_SAID)}).*?</p>", re.DOTALL)
# Seen in Label Studio 1.23.2, for a text box of several rows.
_KEYS = (
    "<kbd>Tab</kbd> leads to the pencil, <kbd>Space</kbd> opens the caption, <kbd>Shift</kbd>+<kbd>Enter</kbd> keeps "
    "the change, <kbd>Ctrl</kbd>+<kbd>Enter</kbd> submits. <kbd>Esc</kbd> in an open caption loses what was typed."
)


def description_with_link(text: str | None, address: str) -> str:
    """A project's description with one line of ours at its end. An earlier one, with another address, is replaced."""
    return f"{description_without_link(text)}\n\n{_SAID} {address}".lstrip()


def description_without_link(text: str | None) -> str:
    """What people wrote in a project's description."""
    return _OURS_IN_TEXT.sub("", text or "").rstrip()


def instructions_with_link(markup: str | None, address: str) -> str:
    """The same for the instructions, which are HTML, with the keys."""
    own = _OURS_IN_HTML.sub("", markup or "").rstrip()
    shown = html.escape(address)
    return f'{own}\n{_BEGINS} {_KEYS}<br>{_SAID} <a href="{shown}" target="_blank">{shown}</a></p>'.lstrip()
