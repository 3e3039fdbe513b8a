import os
import socket
from collections.abc import Iterator

import pytest

from captionloop.backend.local import ports
from captionloop.errors import BusyError


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


def test_nobody_holds_a_free_port() -> None:
    assert ports.holder(ports.free_port()) is None
