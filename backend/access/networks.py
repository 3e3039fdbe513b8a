"""Networks that count as one client."""

import ipaddress

# The owner of an IPv6 address usually has the whole prefix.
_IPV6_PREFIX_BITS = 64


def network_of(address: str) -> str:
    """The network of an address that counts as one client."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a unix socket has none
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network(f"{found}/{_IPV6_PREFIX_BITS}", strict=False))
