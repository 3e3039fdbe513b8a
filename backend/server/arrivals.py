"""Limits on incoming requests: time, number of connections, size.

waitress reads each request completely before a thread handles it, and allows slow or idle clients two minutes and more.
Here headers and body have time limits, and the number of connections is limited per address and in all: a new one
replaces the oldest waiting one. Large bodies are read only from clients with credentials.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

from captionloop.backend.access.networks import network_of
from captionloop.backend.server.places import PLACES

_log = logging.getLogger(__name__)

# Addresses with threads of their own: `/health` is answered however busy the others are, and `/predict`, which may take
# a minute, delays no others. Four more threads than places, so that refusals do not wait.
_OWN_THREADS = {"/health": 1, "/predict": PLACES + 4}
_COME_AGAIN_S = 10
_LOOK_EVERY_S = 0.25
_REPORT_EVERY_S = 60.0

MaySendMuch = Callable[[dict[str, Any]], bool]
"""Whether a WSGI environment, whose body has not arrived yet, has valid credentials."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server; the defaults are many times what Label Studio and a few browsers need."""

    header_s: float = 10.0
    """From the first byte to the end of the headers, and from connecting to the first byte."""
    body_s: float = 20.0
    """For a body, in addition to its size over `body_bytes_per_s`."""
    body_bytes_per_s: int = 16_384
    waiting_per_address: int = 64
    """Connections without a request in progress. All clients behind a proxy have its address."""
    waiting: int = 256
    connections: int = 512
    """Of all kinds. Each uses up to two file descriptors."""
    stranger_bytes: int = 1_000_000
    """The largest body without credentials: more than any form of the pages, except with a picture."""
    bodies_bytes: int = 1_000_000_000
    """All larger bodies together, which are in temporary files."""


class Refusal(Error):  # type: ignore[misc]  # the package carries no types
    """An error response without the app, in the format of the app's errors."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason
        self._retry_after_s = retry_after_s

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        headers = [("Content-Type", "application/json")]
        if self._retry_after_s is not None:
            headers.append(("Retry-After", str(self._retry_after_s)))
        body = json.dumps({"error": self.body, "type": self.reason}) + "\n"
        return f"{self.code} {self.reason}", headers, body.encode()


class Arrivals:
    """All connections of a server. Used only by the thread that reads from them."""

    def __init__(self, limits: Limits, *, may_send_much: MaySendMuch) -> None:
        self.limits = limits
        self.may_send_much = may_send_much
        self._closed = 0
        self._look_at = self._report_at = 0.0

    def open(self, server: Any, sock: Any, address: Any, adjustments: Any, map: Any) -> "Connection":
        """Creates a connection (waitress' `channel_class`); if there are too many, one is closed."""
        opened = Connection(server, sock, address, adjustments, map, arrivals=self)
        self._make_room(opened, connections_in(map))
        return opened

    def hold_to_time(self, sockets: dict[int, Any]) -> None:
        """Close connections that exceed their time limits. Call it repeatedly."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_S
        for connection in connections_in(sockets):
            if connection.is_overdue(now):
                connection.give_up()
        if self._closed and now >= self._report_at:
            _log.warning("%d connections were closed to make room for new ones", self._closed)
            self._closed, self._report_at = 0, now + _REPORT_EVERY_S

    def refusal(self, size: int, held: int, *, is_known: bool) -> Refusal | None:
        """Why a body is refused.

        Args:
            size: its bytes, as far as known.
            held: the bytes of all others.
        """
        if not is_known:
            most = f"More than {self.limits.stranger_bytes:,} bytes are taken"
            return Refusal(
                413, "Content Too Large", f"{most} from those alone who are signed in, or send user and password."
            )
        if size + held > self.limits.bodies_bytes:
            return Refusal(
                503,
                "Service Unavailable",
                "Too much is being sent at once. Send it again in a moment.",
                retry_after_s=_COME_AGAIN_S,
            )
        return None

    def _make_room(self, opened: "Connection", all_of_them: Sequence["Connection"]) -> None:
        waiting = [connection for connection in all_of_them if connection.is_waiting]
        of_same = [connection for connection in waiting if connection.network == opened.network]
        if len(of_same) > self.limits.waiting_per_address:
            self._close(of_same)
        elif len(waiting) > self.limits.waiting:
            [(network, _)] = Counter(connection.network for connection in waiting).most_common(1)
            self._close([connection for connection in waiting if connection.network == network])
        elif len(all_of_them) > self.limits.connections:
            self._close([connection for connection in all_of_them if connection.is_waiting or connection.is_unread])

    def _close(self, candidates: Sequence["Connection"]) -> None:
        if candidates:
            min(candidates, key=lambda connection: connection.waiting_since).will_close = True
            self._closed += 1


class Connection(HTTPChannel):  # type: ignore[misc]
    """One connection, and whether its client has credentials."""

    request: "Request | None"
    requests: "list[Request]"

    def __init__(
        self,
        server: Any,
        sock: Any,
        address: Any,
        adjustments: Any,
        map: Any,
        *,
        arrivals: Arrivals,
    ) -> None:
        self.arrivals = arrivals
        self.opened_at = self._idle_since = time.monotonic()
        self.network = network_of(address[0])
        self._was_asked = False
        super().__init__(server, sock, address, adjustments, map)

    def parser_class(self, adjustments: Any) -> "Request":
        """Creates the parser of a new request."""
        self._was_asked = True
        return Request(adjustments, self)

    @property
    def waiting_since(self) -> float:
        """When the request that is arriving began, or the last response ended; bytes in between change nothing."""
        return self._idle_since if self.request is None else self.request.begun_at

    @property
    def is_waiting(self) -> bool:
        """Whether it is waiting for data, without a request whose credentials were accepted."""
        is_done = self.will_close or self.close_when_flushed
        return not (is_done or self.requests or self.total_outbufs_len or (self.request and self.request.is_known))

    @property
    def is_unread(self) -> bool:
        """Whether responses are complete, but not read by the client yet."""
        return bool(self.total_outbufs_len and not self.requests and not self.will_close)

    @property
    def held(self) -> int:
        """The bytes of its large bodies, received or announced."""
        return sum(request.held for request in [*self.requests, self.request] if request)

    def is_overdue(self, now: float) -> bool:
        if self.requests or self.will_close:  # nothing more is read until they are answered
            return False
        if self.request is None:
            return not self._was_asked and now > self.opened_at + self.arrivals.limits.header_s
        return self.request.is_overdue(now)

    def give_up(self) -> None:
        """Send an error if a part of a request has arrived; else close."""
        with self.requests_lock:
            if self.request is None:
                self.will_close = True
                return
            self.request.refuse(Refusal(408, "Request Timeout", "The request did not arrive in time."))
            self.requests.append(self.request)
            self.request = None
            self.server.add_task(self)

    def service(self) -> None:
        super().service()
        self._idle_since = time.monotonic()

    def handle_close(self) -> None:
        if self.request is not None:
            self.request.close()  # a temporary file, perhaps
        super().handle_close()


class Request(HTTPRequestParser):  # type: ignore[misc]
    """A request, from its first byte on."""

    error: Error | None

    def __init__(self, adjustments: Any, connection: Connection) -> None:
        super().__init__(adjustments)
        self.is_known = False  # looked at when it is large
        self.held = 0
        self._connection = connection
        self.begun_at = time.monotonic()  # or its body, once that is what is awaited

    def received(self, data: bytes) -> int:
        """Parse received data; returns how much of it belongs to this request."""
        was_header = not self.headers_finished
        consumed = int(super().received(data))
        if self.headers_finished and self.error is None:
            if was_header:
                self.begun_at = time.monotonic()
            self._weigh()
        return consumed

    def _weigh(self) -> None:
        arrivals = self._connection.arrivals
        size = max(self.content_length, self.body_bytes_received)
        if size <= max(self.held, arrivals.limits.stranger_bytes):
            return
        environ = WSGITask(self._connection, self).get_environment()
        self.is_known = self.is_known or arrivals.may_send_much(environ)
        others = sum(connection.held for connection in connections_in(self._connection.server._map)) - self.held
        self.held = size
        if refusal := arrivals.refusal(size, others, is_known=self.is_known):
            self.refuse(refusal)

    def is_overdue(self, now: float) -> bool:
        limits = self._connection.arrivals.limits
        if not self.headers_finished:
            return now > self.begun_at + limits.header_s
        return now > self.begun_at + limits.body_s + self.body_bytes_received / limits.body_bytes_per_s

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error, without reading the rest."""
        self.error = refusal
        self.expect_continue = False
        self.held = 0
        self.completed = True


class Lanes:
    """Worker threads, with some reserved for single addresses."""

    def __init__(self, threads: int) -> None:
        # A line for each request that comes while all threads are busy would let anybody fill the log.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._others = _dispatcher(threads)
        self._own = {path: _dispatcher(count) for path, count in _OWN_THREADS.items()}

    def add_task(self, connection: Connection) -> None:
        first = connection.requests[0]
        lane = self._others if first.error else self._own.get(first.path, self._others)
        lane.add_task(connection)

    def shutdown(self, *, timeout: float) -> None:
        for lane in (self._others, *self._own.values()):
            lane.shutdown(timeout=timeout)


def _dispatcher(threads: int) -> ThreadedTaskDispatcher:
    made = ThreadedTaskDispatcher()
    made.set_thread_count(threads)
    return made


def connections_in(sockets: dict[int, Any]) -> list[Connection]:
    """The connections among a server's sockets."""
    return [entry for entry in list(sockets.values()) if isinstance(entry, Connection)]
