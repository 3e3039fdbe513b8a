"""A server of ours in a thread, while a block runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from captionloop.backend.server.graceful_server import GracefulServer


@contextmanager
def running(server: GracefulServer, stop: threading.Event) -> Iterator[str]:
    """Its address, until the block ends and `stop`, which it was made with, is set."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        stop.set()
        thread.join()
