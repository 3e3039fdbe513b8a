"""Progress on a terminal as a bar, elsewhere as plain lines, for whatever takes longer than two seconds."""

import sys
import time
from types import TracebackType
from typing import Any

import click

from captionloop.printable import one_line

_QUIET_S = 2.0
_LINE_EVERY_S = 5.0


class Progress:
    """Use it in a `with` block and call `update(done, total)`, or `update(share)` with 0 to 1, as often as you like.

    Everything goes to stderr, so that stdout holds nothing but the result.
    """

    def __init__(self, title: str) -> None:
        self._title = one_line(title)
        self._begun = self._last_line = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def update(self, done: float, total: float = 1.0, note: str = "") -> None:
        """Move the bar; where stderr is no terminal, print a line now and then."""
        now = time.monotonic()
        if now - self._begun < _QUIET_S:
            return
        share = min(1.0, done / total) if total else 0.0
        note = one_line(note)
        if sys.stderr.isatty():
            self._move_bar(share, note)
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            click.echo(f"{self._title}: {share:.0%} {note}".rstrip(), err=True)

    def _move_bar(self, share: float, note: str) -> None:
        if self._bar is None:
            self._bar = click.progressbar(
                length=1000, label=self._title, file=sys.stderr, item_show_func=lambda text: text
            )
            self._bar.__enter__()
        self._bar.update(max(0, int(share * 1000) - self._bar.pos), note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
