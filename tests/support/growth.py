"""How the work of a function grows with its text: seconds of this thread's CPU time, at two lengths, by each other."""

import gc
import time
from collections.abc import Callable, Sequence

SHORT, LONG = 2_000, 16_000  # characters
# A straight line gives LONG / SHORT = 8, a square 64. Three times the line is for caches, and for neighbours.
MOST = 3 * LONG / SHORT

COUNTER = "#"  # in a pattern: a number that is another one each time
PIECES = [
    *"abAs 1.,:;!?-/\\_%&@<>=()[]{}$*+~^|", COUNTER, "'", "’", "‘", '"', "`", "“", "\n", "\u00a0", "\u00ad",
    "\u0301", "\u0300", "\u0327", "\u0308", "\u1161", "\u0f71", "\ud800", "\u200d", "é", "İ", "ß", "ﬁ", "가",
    "‚", "„", "א", "ן", "日", "½", "😀", "and ", "red ", "in ", "2 ", "cats ", "ing ", "&amp;", "http://", "<a ",
    "u.s. ", "...", "--",
]  # fmt: skip


def text_of(pattern: Sequence[str], length: int) -> str:
    """The pattern again and again."""
    unit = "".join(pattern)
    repeated = unit * (length // len(unit) + 1)
    if COUNTER not in unit:
        return repeated[:length]
    parts = repeated[:length].split(COUNTER)
    return "".join(f"{part}{number}" for number, part in enumerate(parts))[:length]


def growth(work: Callable[[str, str], object], patterns: tuple[Sequence[str], Sequence[str]]) -> float:
    """How many times as long `work` takes on texts of LONG as on texts of SHORT characters."""
    short, long = ([text_of(pattern, length) for pattern in patterns] for length in (SHORT, LONG))
    found = _seconds(work, long) / _seconds(work, short)
    # Somebody else's work may have come in between: only what stays slow is slow.
    return min(found, _seconds(work, long) / _seconds(work, short)) if found > MOST else found


def _seconds(work: Callable[[str, str], object], texts: Sequence[str]) -> float:
    one, other = texts
    times = []
    gc.disable()
    for _ in range(3):
        begun = time.thread_time()
        work(one, other)
        times.append(time.thread_time() - begun)
        if times[-1] > 1:  # far from the line in any case
            break
    gc.enable()
    return max(min(times), 0.0002)  # below that it is the clock that is measured
