import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captionloop.backend.local import ports
from captionloop.errors import BusyError, SettingsError


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(listening: int) -> None:
    assert not ports.is_free(listening)


def test_a_port_without_one_is_free() -> None:
    assert ports.is_free(ports.free_port())


def test_a_listener_on_ipv6_takes_the_port_too() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_port_is_free_right_after_its_server_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the server's side closes first, so its side lingers in TIME_WAIT
    client.close()
    assert ports.is_free(port)


def test_the_error_names_port_purpose_holder_and_variable(listening: int) -> None:
    with pytest.raises(BusyError) as caught:
        ports.require_free(listening, variable="CAPTIONLOOP_PORT", purpose="the backend")
    message = str(caught.value)
    assert f"Port {listening} for the backend is taken" in message
    assert "set CAPTIONLOOP_PORT to another port" in message
    assert f"process {os.getpid()}" in message


def test_the_error_suggests_a_port_that_is_free(listening: int) -> None:
    with pytest.raises(BusyError) as caught:
        ports.require_free(listening, variable="CAPTIONLOOP_PORT", purpose="the backend")
    suggested = int(str(caught.value).rpartition("CAPTIONLOOP_PORT=")[2].rstrip("."))
    assert ports.is_free(suggested)


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Those that the name localhost has."""
    addresses = ("127.0.0.1", "127.0.0.2")
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda host, port, *_, **__: [(family, kind, 6, "", (one, port)) for one in addresses]
    )
    return addresses


def test_a_name_is_listened_on_at_each_of_its_addresses(two_addresses: tuple[str, str]) -> None:
    sockets = ports.listen(ports.free_port(), host="localhost", variable="CAPTIONLOOP_PORT", purpose="the backend")
    assert tuple(one.getsockname()[0] for one in sockets) == two_addresses
    for one in sockets:
        one.close()


def test_nothing_is_listened_on_where_one_address_of_two_is_taken(two_addresses: tuple[str, str]) -> None:
    with socket.create_server((two_addresses[1], 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BusyError):
            ports.listen(port, host="localhost", variable="CAPTIONLOOP_PORT", purpose="the backend")
        socket.create_server((two_addresses[0], port)).close()  # of the first one, it has let go


@pytest.mark.parametrize("open_port", [ports.listen, ports.require_free])
@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "192.0.2.1", "2001:db8::1", "999.1.1.1", "...", "127.0.0.1:80"]
)
def test_a_host_that_is_not_this_machine_is_not_called_a_port_that_is_taken(
    open_port: Callable[..., Any], host: str
) -> None:
    with pytest.raises(SettingsError, match=f"The backend cannot listen on '{re.escape(host)}'.*CAPTIONLOOP_HOST"):
        open_port(ports.free_port(), host=host, variable="CAPTIONLOOP_PORT", purpose="the backend")


_PRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_NOT_ROOT = ("setpriv", "--bounding-set=-net_bind_service") if os.getuid() == 0 else ()


@pytest.mark.skipif(
    not _PRIVILEGED.exists() or int(_PRIVILEGED.read_text()) <= 81 or bool(_NOT_ROOT and not shutil.which("setpriv")),
    reason="no port here is kept for root",
)
def test_a_port_that_is_kept_for_root_is_said_to_be() -> None:
    code = (
        "from captionloop.backend.local import ports\n"
        "try: ports.require_free(81, variable='CAPTIONLOOP_PORT', purpose='the backend')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([*_NOT_ROOT, sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("SettingsError Port 81 for the backend is kept for root: set CAPTIONLOOP_PORT to")


def test_nobody_holds_a_free_port() -> None:
    assert ports.holder(ports.free_port()) is None
