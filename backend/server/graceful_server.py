"""waitress, ended as people and load balancers expect: it takes nothing new, and finishes what it is answering.

waitress itself, told to stop, drops what waits for a thread and gives the threads five seconds.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

_log = logging.getLogger(__name__)

# Within the 30 s that container engines and `captionloop up` wait before they kill.
FINISH_WITHIN_S = 25.0
_POLL_INTERVAL_S = 0.25

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class GracefulServer:
    """Serves a WSGI app until `stop` is set."""

    def __init__(
        self,
        app: App,
        *,
        listening: Sequence[socket.socket],
        threads: int,
        stop: threading.Event,
        finish_within_s: float = FINISH_WITHIN_S,
    ) -> None:
        """Who connects is answered once `run` is called.

        Args:
            listening: sockets to answer on; they are the server's from now on.
            finish_within_s: how long a request may go on after `stop`.
        """
        self._stop = stop
        self._finish_within_s = finish_within_s
        self._sockets: dict[int, wasyncore.dispatcher] = {}
        self._server = create_server(app, map=self._sockets, sockets=listening, threads=threads, ident="captionloop")
        self._listening = [entry for entry in self._sockets.values() if isinstance(entry, BaseWSGIServer)]

    @property
    def port(self) -> int:
        return int(self._listening[0].effective_port)

    def run(self) -> None:
        """Answer until `stop` is set; then refuse connections and come back when all that is begun is answered."""
        while not self._stop.is_set():
            self._turn()
        for listening in self._listening:
            listening.del_channel()
            listening.socket.close()
        deadline = time.monotonic() + self._finish_within_s
        if busy := self._busy():
            _log.info("stopping; %d requests are being answered", busy)
        while self._channels() and time.monotonic() < deadline:
            self._turn()  # first, so that a request that has arrived is taken as one
            for channel in self._channels():
                channel.will_close |= not _is_busy(channel)
        if busy := self._busy():
            _log.warning("%d requests took too long and are not answered", busy)
        self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._sockets)
        _log.info("stopped")

    def _turn(self) -> None:
        wasyncore.loop(timeout=_POLL_INTERVAL_S, use_poll=True, map=self._sockets, count=1)

    def _channels(self) -> list[HTTPChannel]:
        return [channel for server in self._listening for channel in list(server.active_channels.values())]

    def _busy(self) -> int:
        return sum(map(_is_busy, self._channels()))


def _is_busy(channel: HTTPChannel) -> bool:
    """Whether a connection has a request that is not answered to its last byte."""
    return bool(channel.request or channel.requests or channel.total_outbufs_len)
