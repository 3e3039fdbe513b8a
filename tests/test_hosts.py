"""Hosts as the setting CAPTIONLOOP_IMAGE_HOSTS names them."""

import ipaddress

import pytest

from captionloop.errors import SettingsError
from captionloop.hosts import Hosts
from captionloop.settings import Settings


@pytest.mark.parametrize(
    ("text", "name", "address", "expected"),
    [
        ("nas.example", "nas.example", "10.0.0.5", True),
        ("nas.example", "NAS.example.", "10.0.0.5", True),
        ("nas.example", "evil.nas.example", "10.0.0.5", False),
        ("nas.example", "nas.example.evil.test", "10.0.0.5", False),
        ("10.0.0.5", "whatever.test", "10.0.0.5", True),
        ("10.0.0.5", "whatever.test", "10.0.0.6", False),
        ("10.0.0.0/8, fd00::/8", "whatever.test", "fd12::1", True),
        ("10.0.0.0/8", "whatever.test", "::1", False),
        ("", "", "127.0.0.1", False),
    ],
)
def test_a_host_is_one_of_them_by_name_or_by_address(text: str, name: str, address: str, expected: bool) -> None:
    assert Hosts.parse(text).has(name, ipaddress.ip_address(address)) is expected


def test_what_is_written_is_read_again() -> None:
    hosts = Hosts.parse("nas.example, 10.0.0.0/8 fd00::/8,minio")
    assert Hosts.parse(str(hosts)) == hosts


@pytest.mark.parametrize(
    "entry",
    ["http://nas.example", "nas.example:9000", "10.0.0.1/8", "10.0.0", "10.0.0.0/40", "*.example", "a b!", "-x"],
)
def test_an_entry_that_is_none_is_named(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"CAPTIONLOOP_IMAGE_HOSTS .* must be host names, addresses or networks"):
        Settings.read({"CAPTIONLOOP_IMAGE_HOSTS": f"minio, {entry}"})
