"""waitress with limits on incoming requests and a graceful shutdown.

On shutdown it refuses new connections and finishes requests; waitress itself drops queued requests and gives its
threads five seconds.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from captionloop.backend.server.arrivals import Arrivals, Connection, Lanes, Limits, MaySendMuch, connections_in

_log = logging.getLogger(__name__)

# Within the 30 s that container engines and `captionloop up` wait before they kill.
FINISH_WITHIN_S = 25.0
_POLL_INTERVAL_S = 0.25
_LIMITS = Limits()

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
        may_send_much: MaySendMuch,
        limits: Limits = _LIMITS,
        finish_within_s: float = FINISH_WITHIN_S,
    ) -> None:
        """Clients can connect at once, and are answered once `run` is called.

        Args:
            listening: sockets to serve; the server takes ownership.
            may_send_much: called before a large body is read.
            finish_within_s: how long a request may take after `stop`, in seconds.
        """
        self._stop = stop
        self._finish_within_s = finish_within_s
        self._sockets: dict[int, wasyncore.dispatcher] = {}
        self._arrivals = Arrivals(limits, may_send_much=may_send_much)
        self._lanes = Lanes(threads)
        create_server(
            app,
            map=self._sockets,
            _dispatcher=self._lanes,
            sockets=listening,
            ident="captionloop",
            clear_untrusted_proxy_headers=False,  # `BehindProxies` knows which to believe
            connection_limit=2 * limits.connections,  # not to be reached, for then nobody is let in
        )
        self._listening = [entry for entry in self._sockets.values() if isinstance(entry, BaseWSGIServer)]
        for entry in self._listening:
            entry.channel_class = self._arrivals.open

    @property
    def port(self) -> int:
        return int(self._listening[0].effective_port)

    def run(self) -> None:
        """Serve until `stop` is set; then refuse connections, and return when all requests are finished."""
        while not self._stop.is_set():
            self._turn()
        for listening in self._listening:
            listening.del_channel()
            listening.socket.close()
        deadline = time.monotonic() + self._finish_within_s
        if busy := self._busy():
            _log.info("stopping; %d requests are being answered", busy)
        while self._connections() and time.monotonic() < deadline:
            self._turn()  # first, so that a request that has arrived is taken as one
            for connection in self._connections():
                connection.will_close |= not _is_busy(connection)
        if busy := self._busy():
            _log.warning("%d requests took too long and are not answered", busy)
        self._lanes.shutdown(timeout=1)
        wasyncore.close_all(self._sockets)
        _log.info("stopped")

    def _turn(self) -> None:
        wasyncore.loop(timeout=_POLL_INTERVAL_S, use_poll=True, map=self._sockets, count=1)
        self._arrivals.hold_to_time(self._sockets)

    def _connections(self) -> list[Connection]:
        return connections_in(self._sockets)

    def _busy(self) -> int:
        return sum(map(_is_busy, self._connections()))


def _is_busy(connection: Connection) -> bool:
    """Whether a connection has a request whose response is not sent completely."""
    return bool(connection.request or connection.requests or connection.total_outbufs_len)
