"""Messages name the proxy or the certificates that the environment puts into force."""

import datetime as dt
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.network_environment import (
    certificates,
    keep_loopback_direct,
    proxy_for,
    proxy_in_force,
    through_which_proxy,
)
from captionloop.errors import LabelStudioError, SettingsError

PROXY = "http://someone:secret@proxy.test:3128"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_VARIABLES, *map(str.upper, _VARIABLES), *_CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("http_proxy", "http://studio.test"),
        ("HTTP_PROXY", "http://studio.test:8080/ls"),
        ("https_proxy", "https://studio.test"),
        ("all_proxy", "https://studio.test"),
        ("ALL_PROXY", "http://studio.test"),
    ],
)
def test_the_variable_in_force_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, PROXY)
    assert proxy_in_force(url) == (variable, "http://proxy.test:3128")
    said = through_which_proxy(url)
    assert f"through the proxy http://proxy.test:3128 ({variable})" in said
    assert "add studio.test to no_proxy" in said


NAME, ADDRESS, IPV6 = "http://studio.test:8080", "http://10.1.2.3:8080/ls", "http://[fd00::5]:8080"


@pytest.mark.parametrize(
    ("url", "exception"),
    [
        *((NAME, said) for said in ("studio.test", "*", ".test", "*.test", "STUDIO.Test", "test", "studio.test.")),
        *((NAME, said) for said in ("other.test, studio.test", "other.test studio.test", "studio.test:8080")),
        *((NAME, said) for said in ("http://studio.test", "http://studio.test:8080", "[::1],fe80::/10,studio.test")),
        *((ADDRESS, said) for said in ("10.1.2.3", "10.0.0.0/8", "10.1.2.3:8080", "0.0.0.0/0", "10.1.2.3/8")),
        *((IPV6, said) for said in ("fd00::5", "[fd00::5]", "fd00::/8", "[fd00::5]:8080", "fd00:0::5", "FD00::5")),
    ],
)
def test_an_exception_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch, url: str, exception: str) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("NO_PROXY", exception)
    assert (through_which_proxy(url), proxy_for(url)) == ("", None)


@pytest.mark.parametrize(
    ("url", "exception"),
    [
        *((NAME, said) for said in ("udio.test", "studio.test:80", "https://studio.test", "x.studio.test", ".", "")),
        *((ADDRESS, said) for said in ("10.1.2", "11.0.0.0/8", "10.1.2.3:80", "fd00::/8", "[::1]")),
        *((IPV6, said) for said in ("fe80::/10", "[fd00::6]", "10.0.0.0/8", "[fd00::5]:80")),
    ],
)
def test_what_is_no_exception_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch, url: str, exception: str) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", exception)
    assert proxy_for(url) == PROXY
    assert proxy_in_force(url) == ("http_proxy", "http://proxy.test:3128")


@pytest.mark.parametrize("exceptions", ["[::1]", "fd00::/8", "localhost,[fd00::5]:8080", "*:80", "::::,a b", "/8"])
def test_no_exception_keeps_label_studio_from_being_asked(
    answering: "Callable[..., _Answering]", monkeypatch: pytest.MonkeyPatch, exceptions: str
) -> None:
    """httpx takes an IPv6 address in brackets for a name with a port that is none."""
    proxy = answering()
    monkeypatch.setenv("http_proxy", proxy.address)
    monkeypatch.setenv("no_proxy", exceptions)
    assert LabelStudio("http://studio.test", "token", retry_delays_s=()).version() == "1.23.2"


@pytest.mark.parametrize("proxy", ["ftp://proxy.test", "http://proxy.test:port", "http://", "http://proxy.test:0"])
def test_a_proxy_that_is_none_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(SettingsError, match=rf"ALL_PROXY is '{proxy}', no proxy such as"):
        LabelStudio("http://studio.test", "token", retry_delays_s=()).version()


@pytest.mark.skipif(find_spec("socksio") is not None, reason="SOCKS proxies can be used here")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_needs_a_package_which_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("all_proxy", f"{scheme}://someone:secret@proxy.test:1080")
    with pytest.raises(SettingsError, match=r"all_proxy is .*pip install socksio") as caught:
        LabelStudio("http://studio.test", "token", retry_delays_s=()).version()
    assert "secret" not in str(caught.value)


def test_the_proxy_of_another_scheme_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    assert proxy_in_force("http://studio.test") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"http_proxy": PROXY}, {"no_proxy": "localhost,127.0.0.1,::1"}),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.test"}, {"NO_PROXY": "a.test,localhost,127.0.0.1,::1"}),
        ({"http_proxy": PROXY, "no_proxy": "127.0.0.1"}, {"no_proxy": "127.0.0.1,localhost,::1"}),
        ({"http_proxy": PROXY, "no_proxy": "*"}, {"no_proxy": "*"}),
    ],
)
def test_this_machine_is_asked_without_a_proxy(before: dict[str, str], after: dict[str, str]) -> None:
    environment = dict(before)
    keep_loopback_direct(environment)
    assert environment == before | after


def test_a_label_studio_behind_a_proxy_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(LabelStudioError) as caught:
        LabelStudio("http://studio.test", "token", retry_delays_s=()).version()
    assert "through the proxy http://127.0.0.1:9 (http_proxy)" in str(caught.value)


class _Answering(ThreadingHTTPServer):
    def __init__(self, status: int, body: bytes, content_type: str, certificate: Path | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        pass  # a handshake that the client ends

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def answering() -> Iterator[Callable[..., _Answering]]:
    made: list[_Answering] = []

    def start(
        status: int = 200, body: bytes = b'{"release": "1.23.2"}', *, certificate: Path | None = None
    ) -> _Answering:
        kind = "application/json" if body.startswith(b"{") else "text/html"
        made.append(_Answering(status, body, kind, certificate))
        return made[-1]

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 403, 407, 502, 503, 504])
def test_a_proxy_that_answers_itself_is_named(
    answering: Callable[..., _Answering], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    proxy = answering(status, b"<html>Blocked by policy")
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    with pytest.raises(LabelStudioError) as caught:
        LabelStudio("http://studio.test", "token", retry_delays_s=()).version()
    assert f"through the proxy http://{proxy.address} (HTTP_PROXY)" in str(caught.value)


def _certificate(path: Path, *, name: str, days: int = 1) -> Path:
    """A new key and a certificate that it signed itself, as PEM, for a name and 127.0.0.1."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name != "other.test":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_of_ones_own_is_trusted(
    answering: Callable[..., _Answering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    own = _certificate(tmp_path / "own.pem", name="studio.test")
    monkeypatch.setenv(variable, str(own))
    server = answering(certificate=own)
    assert LabelStudio(f"https://{server.address}", "token").version() == "1.23.2"


@pytest.mark.parametrize(
    ("variable", "named"),
    [(None, "now it is unset"), ("SSL_CERT_FILE", "now SSL_CERT_FILE names"), ("REQUESTS_CA_BUNDLE", "BUNDLE names")],
)
def test_a_certificate_of_an_unknown_authority(
    answering: Callable[..., _Answering],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    named: str,
) -> None:
    if variable:
        monkeypatch.setenv(variable, str(_certificate(tmp_path / "theirs.pem", name="theirs.test")))
    server = answering(certificate=_certificate(tmp_path / "own.pem", name="studio.test"))
    with pytest.raises(LabelStudioError) as caught:
        LabelStudio(f"https://{server.address}", "token", retry_delays_s=()).version()
    assert "name that one's certificate in SSL_CERT_FILE" in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("name", "days", "remedy"),
    [("studio.test", -1, "Renew it"), ("other.test", 1, "Use the name that the certificate was made for")],
)
def test_a_certificate_that_is_trusted_and_does_not_fit(
    answering: Callable[..., _Answering],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    days: int,
    remedy: str,
) -> None:
    own = _certificate(tmp_path / "own.pem", name=name, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    server = answering(certificate=own)
    with pytest.raises(LabelStudioError, match=remedy):
        LabelStudio(f"https://{server.address}", "token", retry_delays_s=()).version()


def test_a_server_without_tls(answering: Callable[..., _Answering]) -> None:
    with pytest.raises(LabelStudioError, match="Write http:// instead of https://"):
        LabelStudio(f"https://{answering().address}", "token", retry_delays_s=()).version()


@pytest.mark.parametrize("variable", _CA_VARIABLES)
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_variable_that_names_no_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str | None
) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(SettingsError, match=f"{variable} is '{path}'"):
        certificates()
