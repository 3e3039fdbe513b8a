"""Hosts as a setting names them: by name, by address or by network."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\Z")


@dataclass(frozen=True)
class Hosts:
    """Some hosts; by default none. `str` gives a text that `parse` reads again."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Hosts:
        """Read `images.intra.example, 10.0.0.5, 192.168.0.0/16`.

        Raises:
            ValueError: an entry is none of the three.
        """
        names, networks = set(), []
        for entry in filter(None, re.split(r"[\s,]+", text.strip().lower())):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                looks_like_address = ":" in entry or "/" in entry or entry.replace(".", "").isdecimal()
                if looks_like_address or not _NAME.match(entry):
                    raise ValueError(
                        "host names, addresses or networks such as images.intra.example, 10.0.0.5, 192.168.0.0/16 "
                        f"(not {entry!r})"
                    ) from error
                names.add(entry)
        return cls(frozenset(names), tuple(networks))

    def has(self, name: str, address: Address) -> bool:
        """Whether a host of this name, found at this address, is one of them."""
        if name.lower().rstrip(".") in self.names:
            return True
        return any(address in network for network in self.networks)

    def __str__(self) -> str:
        return ", ".join([*sorted(self.names), *map(str, self.networks)])
