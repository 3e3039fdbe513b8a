"""Connections to hosts that a task names: what is checked is what is connected to."""

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from captionloop.backend.label_studio.checked_network import (
    CheckedNetwork,
    RefusedHostError,
    is_public,
)
from captionloop.backend.label_studio.deadlines import client_on
from captionloop.backend.label_studio.network_environment import certificates
from captionloop.hosts import Hosts

NOT_PUBLIC = {
    "private": ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fd00:ec2::254"],
    "loopback": ["127.0.0.1", "127.8.8.8", "::1"],
    "link-local, cloud metadata": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "metadata elsewhere": ["168.63.129.16", "100.100.100.200", "192.0.0.192"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "this host": ["0.0.0.0", "0.1.2.3", "::"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "broadcast, reserved": ["255.255.255.255", "240.0.0.1", "192.0.0.1", "4000::1", "5f00::1"],
    "documentation, benchmarks": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "3fff::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8"],
    "site-local": ["fec0::1"],
}
PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1",
          "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]  # fmt: skip


@pytest.mark.parametrize("address", [address for group in NOT_PUBLIC.values() for address in group])
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


class Server:
    """A web server on this machine that keeps what it was asked for, with a certificate for one name if wanted."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.append((self.path, self.headers["Host"]))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:  # a client that does not like the certificate hangs up
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


class Names:
    """A name server whose answers for a name come one after the other, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


GetClient = Callable[[Names, str], httpx.Client]


@pytest.fixture
def client() -> Iterator[GetClient]:
    made: list[httpx.Client] = []

    def make(names: Names, allowed: str = "") -> httpx.Client:
        network = CheckedNetwork(Hosts.parse(allowed), resolve=names)
        made.append(client_on(network, certificates=certificates(), timeout=5.0))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_name_for_a_private_address_is_refused_before_anything_is_sent(client: GetClient, server: Server) -> None:
    with pytest.raises(RefusedHostError) as caught:
        client(Names(["127.0.0.1"]), "").get(f"http://innocent.test:{server.port}/")
    assert (caught.value.host, str(caught.value.address), server.asked) == ("innocent.test", "127.0.0.1", [])


def test_the_name_is_looked_up_once_and_what_was_checked_is_connected_to(client: GetClient, server: Server) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])

    answer = client(names, "127.0.0.1").get(f"http://rebinding.test:{server.port}/a")

    assert answer.text == "ok"
    assert names.asked == ["rebinding.test"]
    assert server.asked == [("/a", f"rebinding.test:{server.port}")]


def test_a_name_that_changes_to_a_private_address_is_refused_from_then_on(client: GetClient, server: Server) -> None:
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    rebinding = client(names, "127.0.0.2")
    with pytest.raises(httpx.ConnectError):  # allowed, but nobody listens there
        rebinding.get(f"http://rebinding.test:{server.port}/")

    with pytest.raises(RefusedHostError):
        rebinding.get(f"http://rebinding.test:{server.port}/")
    assert server.asked == []


def test_of_several_addresses_only_those_that_pass_are_tried(client: GetClient, server: Server) -> None:
    names = Names(["127.0.0.2", "::1", "127.0.0.1"])

    with pytest.raises(httpx.ConnectError):
        client(names, "127.0.0.2").get(f"http://mixed.test:{server.port}/")
    assert server.asked == []


def test_an_address_that_does_not_answer_leaves_the_next_one(client: GetClient, server: Server) -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])

    assert client(names, "127.0.0.0/8").get(f"http://two.test:{server.port}/").text == "ok"


@pytest.mark.parametrize("answer", [[], OSError("Name or service not known")])
def test_a_name_that_nobody_knows_cannot_be_connected_to(answer: Any) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        if isinstance(answer, OSError):
            raise answer
        return list(answer)

    network = CheckedNetwork(Hosts(), resolve=resolve)
    with (
        client_on(network, certificates=certificates()) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.get("http://nowhere.test/")


def test_a_look_up_that_does_not_end_is_given_up() -> None:
    answered = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        answered.wait(30)
        return ["127.0.0.1"]

    network = CheckedNetwork(Hosts.parse("127.0.0.1"), resolve=resolve)
    with (
        client_on(network, certificates=certificates(), timeout=0.2) as client,
        pytest.raises(httpx.ConnectTimeout, match=r"no address of slow\.test was found in time"),
    ):
        client.get("http://slow.test/")
    answered.set()
    network.close()


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has a certificate for `pictures.test`, which this process trusts."""
    certificate = tmp_path / "pictures.test.pem"
    certificate.write_bytes(_certificate("pictures.test"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made = Server(certificate)
    yield made
    made.close()


def _certificate(name: str) -> bytes:
    """A new key and a certificate that it signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def test_tls_verifies_the_name_and_not_the_address(client: GetClient, tls_server: Server) -> None:
    named = client(Names(["127.0.0.1"]), "pictures.test")

    assert named.get(f"https://pictures.test:{tls_server.port}/").text == "ok"


def test_a_certificate_for_another_name_is_refused(client: GetClient, tls_server: Server) -> None:
    named = client(Names(["127.0.0.1"]), "other.test")

    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        named.get(f"https://other.test:{tls_server.port}/")
    assert tls_server.asked == []
