"""Deadlines for a whole HTTP exchange.

httpx's timeouts apply to a single read or write, so a server that sends a byte now and then, or endless interim
responses (103), could block a thread for ever. Here the deadline is checked at every read and write.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

# Writes are split into chunks, so that a peer that reads slowly is noticed.
_BYTES_PER_WRITE = 16_384


_this_thread = threading.local()


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Deadline, in `time.monotonic()`, of all connections of `TimedNetwork` in this thread and block.

    In nested blocks the earliest deadline counts.
    """
    before: float | None = getattr(_this_thread, "moment", None)
    _this_thread.moment = moment if before is None else min(before, moment)
    try:
        yield
    finally:
        _this_thread.moment = before


def left_of(timeout: float | None, too_late: type[Exception]) -> float | None:
    """A timeout in seconds, limited by the deadline.

    Raises:
        Exception: of the type `too_late`: the deadline has passed.
    """
    moment: float | None = getattr(_this_thread, "moment", None)
    if moment is None:
        return timeout
    left = moment - time.monotonic()
    if left <= 0:
        raise too_late("the time for the whole exchange is over")
    return left if timeout is None else min(timeout, left)


class TimedNetwork(httpcore.NetworkBackend):
    """Opens connections that observe the deadline of `until`. Thread-safe."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        limit = left_of(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, limit, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, left_of(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _BYTES_PER_WRITE):
            limit = left_of(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _BYTES_PER_WRITE], limit)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = left_of(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, limit))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def client_on(
    network: TimedNetwork, *, certificates: SSLContext, proxy: str | None = None, **options: Any
) -> httpx.Client:
    """An httpx client whose connections, those to a proxy as well, are opened by `network`.

    Args:
        proxy: the proxy to use; None: no proxy, whatever the environment says.
    """
    client = httpx.Client(verify=certificates, proxy=proxy, trust_env=False, follow_redirects=False, **options)
    # httpx has no argument for what httpcore, which it is made of, documents as `network_backend`.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = network
    return client
