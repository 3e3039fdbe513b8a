"""Who asks, where a proxy that we know of says so.

A proxy appends the address that it was asked from to `X-Forwarded-For`. Only what known proxies wrote is believed: from
the right, as many entries as there are such proxies in a row. Anybody may write what comes before.
"""

import ipaddress
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from captionloop.hosts import Address, Hosts


class BehindProxies:
    """A WSGI app whose clients are those of the proxies in front of it."""

    def __init__(self, app: Any, trusted: Hosts) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found: Iterable[bytes] = self._app(self.seen_through(environ), start_response)
        return found

    def seen_through(self, environ: dict[str, Any]) -> dict[str, Any]:
        """The environment with the client's own address as `REMOTE_ADDR`, as far as known proxies tell it."""
        if hops := self._hops(environ):
            ProxyFix(lambda *_: [], x_for=hops, x_proto=0)(environ, lambda *_: lambda _: None)
        return environ

    def _hops(self, environ: dict[str, Any]) -> int:
        """How many entries of `X-Forwarded-For` known proxies wrote; 0 also if the first of these is no address."""
        written = [entry.strip() for entry in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        asked_from = [environ.get("REMOTE_ADDR", ""), *reversed(written)]
        hops = min(sum(1 for _ in takewhile(self._is_trusted, asked_from)), len(written))
        return hops if _address(written[-hops]) is not None else 0

    def _is_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and self._trusted.has("", address)


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found
