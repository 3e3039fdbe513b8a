"""The texts of a Label Studio project in which people find the way to our pages: its description and instructions.

The description of an ML backend is not shown by Label Studio 1.23. People's own texts stay; ours is added below them.
"""

import html
import re

_SAID = "Captionloop shows what people changed and whether the model gets better:"
_OURS_IN_TEXT = re.compile(rf"\n*{re.escape(_SAID)}[^\n]*")
_OURS_IN_HTML = re.compile(rf"\n*<p>{re.escape(_SAID)}.*?</p>", re.DOTALL)


def description_with_link(text: str | None, address: str) -> str:
    """A project's description with one line of ours at its end. An earlier one, with another address, is replaced."""
    return f"{description_without_link(text)}\n\n{_SAID} {address}".lstrip()


def description_without_link(text: str | None) -> str:
    """What people wrote in a project's description."""
    return _OURS_IN_TEXT.sub("", text or "").rstrip()


def instructions_with_link(markup: str | None, address: str) -> str:
    """The same for the instructions, which are HTML."""
    own = _OURS_IN_HTML.sub("", markup or "").rstrip()
    shown = html.escape(address)
    return f'{own}\n<p>{_SAID} <a href="{shown}" target="_blank">{shown}</a></p>'.lstrip()
