"""Proxies and certificates of the environment, and messages about them.

Proxies are those of `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower or upper case. They are read here
because httpx supports no networks in `no_proxy` (10.0.0.0/8) and fails on IPv6 addresses in brackets there.

Certificates are those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, as for OpenSSL, or of `REQUESTS_CA_BUNDLE` or
`CURL_CA_BUNDLE`, which sites with a private certificate authority set for other programs.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from captionloop.errors import SettingsError
from captionloop.settings import without_password

_PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})  # that httpx knows
_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# OpenSSL's X509_V_ERR_…: what a certificate is refused for (openssl/x509_vfy.h).
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64


def keep_loopback_direct(environment: MutableMapping[str, str]) -> None:
    """Exclude this machine's addresses from proxying, since a proxy's `localhost` is its own."""
    if not any(name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name in environment):
        return
    variable = "NO_PROXY" if "NO_PROXY" in environment and "no_proxy" not in environment else "no_proxy"
    hosts = [host.strip() for host in environment.get(variable, "").split(",") if host.strip()]
    if "*" not in hosts:
        environment[variable] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))


def proxy_in_force(url: str) -> tuple[str, str] | None:
    """The variable with the proxy for this URL, and the proxy without its password; None: no proxy."""
    found = _proxy_and_variable(url)
    return None if found is None else (found[0], without_password(found[1]))


def proxy_for(url: str) -> str | None:
    """The proxy for this URL, with its password; None: no proxy.

    Raises:
        SettingsError: a variable has a proxy that cannot be used.
    """
    found = _proxy_and_variable(url)
    if found is None:
        return None
    variable, said = found
    proxy = said if "://" in said else f"http://{said}"
    try:
        parts = urlsplit(proxy)
        is_one = parts.scheme.lower() in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its port is none
        is_one = False
    if not is_one:
        raise SettingsError(f"{variable} is {without_password(said)!r}, no proxy such as http://proxy.example:3128.")
    if parts.scheme.lower().startswith("socks") and find_spec("socksio") is None:
        raise SettingsError(
            f"{variable} is {without_password(said)!r}. For a SOCKS proxy the package socksio is needed: "
            f"`pip install socksio`. If {urlsplit(url).hostname} is to be asked directly, add it to no_proxy."
        )
    return proxy


def _proxy_and_variable(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    if any(_is_excepted(parts, entry) for entry in _exceptions()):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if proxy := os.environ.get(variable):
                return variable, proxy
    return None


def _exceptions() -> list[str]:
    return (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").lower().replace(",", " ").split()


def _is_excepted(parts: SplitResult, entry: str) -> bool:
    """Whether an entry of `no_proxy` means this address.

    As curl, Go and others read it: `*`, a name with those below it (`example.com`, `.example.com`, `*.example.com`), an
    address, a network (`10.0.0.0/8`, `fd00::/8`); each also with a port, or as an address with a scheme.
    """
    if entry == "*":
        return True
    host = (parts.hostname or "").rstrip(".")
    scheme, separator, rest = entry.rpartition("://")
    if separator and scheme != parts.scheme:
        return False
    name, port = rest, None
    if found := _WITH_PORT.fullmatch(rest):
        name, port = found[1], int(found[2])
    if port not in (None, parts.port or _DEFAULT_PORTS.get(parts.scheme)):
        return False
    name = name.replace("[", "").replace("]", "")
    with suppress(ValueError):
        network = ip_network(name, strict=False)
        return _lies_in(host, network)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _lies_in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(host) in network
    except ValueError:  # a name, of which nobody has looked up the address
        return False


def through_which_proxy(url: str) -> str:
    """A sentence about the proxy for this URL, or nothing without one."""
    found = proxy_in_force(url)
    if found is None:
        return ""
    variable, proxy = found
    host = urlsplit(url).hostname
    return (
        f" It was asked through the proxy {proxy} ({variable}); if it is to be asked directly, add {host} to no_proxy."
    )


def certificates() -> ssl.SSLContext:
    """The trusted certificates: those of the environment, else httpx's own.

    Raises:
        SettingsError: a variable names a missing file, or one without certificates.
    """
    import httpx

    variable = ca_variable()
    if variable is None:
        return httpx.create_ssl_context(trust_env=False)
    path = os.environ[variable]
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{variable} is {path!r}, from which no certificates can be read ({error}). Name a file in PEM format, a "
            "directory of such files, or unset it."
        ) from error


def ca_variable() -> str | None:
    """The variable that sets the trusted certificates."""
    return next((name for name in _CA_VARIABLES if os.environ.get(name)), None)


def why_not_trusted(error: BaseException) -> str | None:
    """The remedy for a failed TLS handshake; None for other failures."""
    found = next((cause for cause in _chain(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({found.verify_message}). {_remedy(found.verify_code)}"
    if found is not None and found.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS there. Write http:// instead of https://, or name the port that does."
    return None if found is None else f"no TLS connection can be made with it ({found.reason or found})."


def _remedy(code: int) -> str:
    if code in {_EXPIRED, _NOT_YET_VALID}:
        return "Renew it, or correct this machine's clock."
    if code in {_OTHER_NAME, _OTHER_ADDRESS}:
        return "Use the name that the certificate was made for."
    variable = ca_variable()
    now = f"now {variable} names {os.environ[variable]}" if variable else "now it is unset"
    return f"If it is from a certificate authority of your own, name that one's certificate in SSL_CERT_FILE ({now})."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
