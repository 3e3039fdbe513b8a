"""The pages of a home as a real server gives them, for benchmarks and pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from captionloop.backend.bench.served import Server, our_server
from captionloop.home import Home

USER, PASSWORD = "captionloop", "benchmark"


@contextmanager
def served_room(home: Home, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that answers with the pages of `home`, to `USER` with `PASSWORD`.

    Args:
        environment: what it has beside the usual.
    """
    account = {"CAPTIONLOOP_USER": USER, "CAPTIONLOOP_PASSWORD": PASSWORD, "CAPTIONLOOP_SERVER": "local"}
    with our_server(account | dict(environment or {}), home=home.root) as server:
        server.wait_for("/health")
        yield server


def cpu_s(server: Server) -> float | None:
    """The processor time of all of a server's threads so far, in seconds; None where the system does not tell.

    What it took to answer does not depend on who else uses the machine, as the time on the clock does.
    """
    if sys.platform != "linux":
        return None
    return time.clock_gettime(~server.pid << 3 | 2)  # as clock_getcpuclockid(3) makes the clock of a process
