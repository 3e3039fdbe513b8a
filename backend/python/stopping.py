"""Ctrl-C as a wish to stop at the next good moment."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c_asks(on_first: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; pressed again, it raises KeyboardInterrupt as usual.

    In a thread, where Python lets nobody handle signals, nothing sets it.

    Args:
        on_first: called when it is pressed for the first time.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        on_first()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
