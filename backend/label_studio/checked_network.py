"""Protection against SSRF: connections only to public addresses, unless a setting allows more.

A name is resolved once, its addresses are checked, and the socket connects to a checked address, which defeats DNS
rebinding. TLS still verifies the certificate of the name. Since the check is made where sockets are opened, it also
covers redirects and reconnections.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import httpcore

from captionloop.backend.label_studio.deadlines import TimedNetwork, left_of
from captionloop.hosts import Address, Hosts

# Beside what `ipaddress` knows not to be global, which differs between versions of Python.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure: the host of a virtual machine answers there, with its settings
            "192.0.0.0/24",  # IETF protocol assignments; Oracle Cloud's metadata is at 192.0.0.192
            "192.88.99.0/24",  # relays of 6to4
            "2001::/23",  # IETF protocol assignments, among them Teredo, which wraps an IPv4 address
            "2002::/16",  # 6to4, which wraps one too
            "3fff::/20",  # for documentation
        ),
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is handed out of IPv6 so far
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: IPv4 hosts as a network that has IPv6 alone sees them

# Concurrent DNS lookups: a resolver that does not answer blocks a thread until its own timeout.
_LOOKUPS = 32

Resolve = Callable[[str, int], Iterable[str]]  # (host, port) -> addresses; raises OSError


class RefusedHostError(Exception):
    """A host has no public address, and is not allowed by a setting."""

    def __init__(self, host: str, address: Address) -> None:
        super().__init__(f"{host} is at {address}")
        self.host = host
        self.address = address


def is_public(address: Address) -> bool:
    """Whether an address is a public unicast address.

    False for private, loopback, link-local (including cloud metadata), shared, multicast and reserved ones, and for
    IPv6 addresses that embed such an IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if (inner := _ipv4_in(address)) is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _ipv4_in(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class CheckedNetwork(TimedNetwork):
    """Opens connections to public hosts and to those of `allowed`. Thread-safe."""

    def __init__(self, allowed: Hosts, *, resolve: Resolve = _resolve) -> None:
        super().__init__()
        self._allowed = allowed
        self._resolve = resolve
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="look-up-host")

    def close(self) -> None:
        """Look up no more names."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """
        Raises:
            RefusedHostError: no address of the host is public or allowed.
        """
        failure: Exception | None = None
        for address in self._checked(host, port, left_of(timeout, httpcore.ConnectTimeout)):
            try:
                return super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"no address is known for {host}")

    def _checked(self, host: str, port: int, timeout: float | None) -> list[Address]:
        try:
            # In a thread of its own, since the system's look-up knows no time limit.
            found = [
                ipaddress.ip_address(text) for text in self._lookups.submit(self._resolve, host, port).result(timeout)
            ]
        except FutureTimeoutError as error:
            raise httpcore.ConnectTimeout(f"no address of {host} was found in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        reachable = [address for address in found if is_public(address) or self._allowed.has(host, address)]
        if found and not reachable:
            raise RefusedHostError(host, found[0])
        return reachable
