"""Output of `captionloop up`: a changing line on a terminal, plain lines elsewhere."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from captionloop.printable import lines, one_line

_FRAME_S = 0.1
_PLAIN_LINE_EVERY_S = 10.0
_BAR_WIDTH = 24


class Step:
    """A step with progress; `update` may be called at any rate."""

    def __init__(self, screen: "Screen", doing: str) -> None:
        self._screen = screen
        self._doing = doing
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._plain_line_due = _PLAIN_LINE_EVERY_S
        self._frame = 0
        self.result = ""  # said beside the tick at the end

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def update(self, detail: str = "", *, share: float | None = None) -> None:
        """Show progress: `share` is the part that is done, 0 to 1, if known."""
        if self._screen.is_terminal:
            now = time.monotonic()
            if now - self._drawn >= _FRAME_S:
                self._drawn = now
                self._frame += 1
                self._screen.draw(self._line(detail, share))
        elif self.seconds >= self._plain_line_due:
            self._plain_line_due += _PLAIN_LINE_EVERY_S
            shown = f"{share:.0%}, {detail}".rstrip(", ") if share is not None else detail
            self._screen.say(f"  … {self._doing}, {self.seconds:.0f} s" + (f": {shown}" if shown else ""))

    def _line(self, detail: str, share: float | None) -> str:
        symbol = self._screen.spinner[self._frame % len(self._screen.spinner)]
        bar = ""
        if share is not None:
            full = round(_BAR_WIDTH * min(max(share, 0.0), 1.0))
            bar = f" [{'#' * full}{'.' * (_BAR_WIDTH - full)}] {share:.0%}"
        return f"{symbol} {self._doing}{bar}  {self.seconds:.0f} s  {detail}"


class Screen:
    """The output stream; `spinner` and `tick` suit its encoding."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        fancy = (self._stream.encoding or "ascii").lower().replace("-", "") == "utf8"
        self.spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if fancy else "|/-\\"
        self.tick = "✓" if fancy else "*"
        self._drawn = False

    def say(self, text: str = "") -> None:
        """A line that stays."""
        self._erase()
        print(lines(text), file=self._stream, flush=True)

    def draw(self, line: str) -> None:
        """A line that the next one replaces."""
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r\x1b[K" + one_line(line)[:width])
        self._stream.flush()
        self._drawn = True

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[Step]:
        """Show `doing` during the block, and at its end `done` with the seconds it took."""
        step = Step(self, doing)
        if self.is_terminal:
            step.update()
        else:
            self.say(f"{doing} …")
        try:
            yield step
        finally:
            self._erase()
        self.say(f"{self.tick} {done}{step.result} ({step.seconds:.0f} s)")

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._drawn = False
