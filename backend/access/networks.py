"""Which addresses are one person's."""

import ipaddress

# Whoever has one IPv6 address usually has all that begin like it.
_IPV6_PREFIX_BITS = 64


def network_of(address: str) -> str:
    """A name for all addresses that one person has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a unix socket has none
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network(f"{found}/{_IPV6_PREFIX_BITS}", strict=False))
