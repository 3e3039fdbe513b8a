"""Fetches the image of a task's field.

    /data/upload/…, /data/local-files/?d=…         on Label Studio, with the token
    /tasks/ID/resolve/?fileuri=…                    the same: Label Studio's own resolver of storage addresses
    s3://…, gs://…, azure-blob://…                  through that resolver
    http(s)://…                                     fetched as it is, without the token, unless it is on Label Studio
    data:…                                          decoded

The token is sent to the configured Label Studio only, and there only to the paths above: task data must not be able to
make us call its API. Other images are fetched from public addresses only, and from hosts that a setting allows
(`checked_network`), bypassing proxies of the environment, which would resolve the names themselves. Redirects are
followed one by one under the same rules. Local paths are never read.

Responses with Content-Encoding are refused, since a few bytes can decompress to gigabytes.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

from captionloop.backend.label_studio.network_environment import (
    certificates,
    proxy_for,
    proxy_in_force,
    through_which_proxy,
    why_not_trusted,
)
from captionloop.backend.label_studio.transport import packed_as
from captionloop.errors import ImageError, LabelStudioError
from captionloop.hosts import Hosts

if TYPE_CHECKING:
    import httpx

    from captionloop.backend.label_studio.checked_network import CheckedNetwork, RefusedHostError
    from captionloop.backend.label_studio.client import LabelStudio

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 20.0
_MOST_REDIRECTS = 5
# What Label Studio can resolve with a storage's credentials. `azure` is what people write; it knows `azure-blob`.
_STORAGE_SCHEMES = {"s3": "s3", "gs": "gs", "azure-blob": "azure-blob", "azure": "azure-blob"}
_LABEL_STUDIO_FILES = re.compile(
    r"/(data/upload/|data/local-files/|storage-data/uploaded/|tasks/\d+/(resolve|presign)/|projects/\d+/(resolve|presign)/)"
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_LONGEST_SHOWN = 200
_PUBLIC_ONLY = Hosts()


# What a web page begins with, whatever it is called. No picture that can be read begins so.
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|!--|(html|head|body|title|meta|script)\b)", re.IGNORECASE)
_WHOLE_FILE = re.compile(r"bytes 0-(\d+)/(\d+)")


@dataclass(frozen=True)
class _Clients:
    label_studio: httpx.Client  # for the files of the configured one, wherever it lies
    elsewhere: httpx.Client
    network: CheckedNetwork  # of `elsewhere`


class ImageSource:
    """Reads images for one Label Studio. Thread-safe."""

    def __init__(
        self,
        label_studio: LabelStudio | None,
        *,
        allowed: Hosts = _PUBLIC_ONLY,
        max_bytes: int = 50_000_000,
        max_seconds: float = 60.0,
    ) -> None:
        """
        Args:
            label_studio: None if not configured; then only http(s) and data URLs can be read.
            allowed: hosts without public addresses that are allowed.
            max_bytes: largest image file.
            max_seconds: deadline for one image, from the first byte sent to the last one read.
        """
        self._label_studio = label_studio
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._allowed = allowed
        self._clients_lock = threading.Lock()
        self._clients: _Clients | None = None

    def close(self) -> None:
        """Close its connections. Idempotent; it can be used again."""
        with self._clients_lock:
            clients, self._clients = self._clients, None
        if clients is not None:
            clients.label_studio.close()
            clients.elsewhere.close()
            clients.network.close()

    def read(self, value: str, *, task_id: int) -> bytes:
        """The bytes of the image in a task's field.

        Raises:
            ImageError: it cannot be read. The message names the address, what was found and what to do; the task is
                for the caller to name.
        """
        try:
            if value[:5].lower() == "data:":
                return self._decode(value)
            return self._fetch(self._address(value.strip(), task_id))
        except ImageError as error:
            hint = self._another_name(value.strip())
            said = f"Image {_shown(value)}: {error}{hint}"
            raise ImageError(said, may_pass=error.may_pass) from error.__cause__
        except ValueError as error:  # from urllib, which so refuses to split an address
            raise ImageError(f"Image {_shown(value)}: this is no valid address ({error}).") from error

    def _address(self, value: str, task_id: int) -> str:
        """The http(s) URL of a value."""
        scheme = urlsplit(value).scheme.lower() if _SCHEME.match(value) else ""
        if scheme in {"http", "https"}:
            return self._renamed(value)
        if scheme in _STORAGE_SCHEMES:
            uri = _STORAGE_SCHEMES[scheme] + value[len(scheme) :]
            encoded = base64.urlsafe_b64encode(uri.encode()).decode()
            return f"{self._server('its storage').url}/tasks/{task_id}/resolve/?fileuri={quote(encoded)}"
        if value.startswith("/") and not value.startswith("//"):
            return self._on_label_studio(value)
        raise ImageError(
            "this is no address that can be read. Use a file uploaded to Label Studio, http(s)://, data:, s3://, "
            "gs://, azure-blob:// or Label Studio's local-files storage."
        )

    def _on_label_studio(self, path: str) -> str:
        server = self._server("its files")
        prefix = urlsplit(server.url).path
        # A Label Studio under a path writes it into its addresses, but tasks made by hand may lack it.
        below = path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path
        url = server.url + below
        if not self._may_have_token(url):
            raise ImageError(
                "this path is no image on Label Studio, and local files are not read. Label Studio's own begin with "
                "/data/upload/ or /data/local-files/."
            )
        return url

    def _another_name(self, value: str) -> str:
        """The remedy if a URL looks like a file of Label Studio under another name of the server."""
        with suppress(ValueError):
            parts = urlsplit(value)
            is_elsewhere = parts.scheme in {"http", "https"} and not self._may_have_token(self._renamed(value))
            if self._label_studio is not None and is_elsewhere and _LABEL_STUDIO_FILES.search(parts.path):
                address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
                return (
                    f" If this is the Label Studio at {self._label_studio.url} under another name, add {address} to "
                    "CAPTIONLOOP_LABEL_STUDIO_NAMES."
                )
        return ""

    def _renamed(self, url: str) -> str:
        """The URL at LABEL_STUDIO_URL of a file that is given under another name of the same server."""
        if self._label_studio is None:
            return url
        renamed = self._label_studio.renamed(url)
        return renamed if self._may_have_token(renamed) else url

    def _server(self, what: str) -> LabelStudio:
        if self._label_studio is None:
            said = f"Label Studio is needed to read {what}. Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY."
            raise ImageError(said, may_pass=True)
        return self._label_studio

    def _may_have_token(self, url: str) -> bool:
        if self._label_studio is None or not self._label_studio.owns(url):
            return False
        path = urlsplit(url).path[len(urlsplit(self._label_studio.url).path) :]
        # A path with `..`, in any encoding, could lead anywhere.
        climbs = any(step in {".", ".."} for step in unquote(unquote(path)).replace("\\", "/").split("/"))
        return not climbs and _LABEL_STUDIO_FILES.match(path) is not None

    def _fetch(self, url: str) -> bytes:
        from captionloop.backend.label_studio.deadlines import until

        self._http()  # the first time takes a while, and none of the image's
        give_up_at = time.monotonic() + self._max_seconds
        renewed = False
        with until(give_up_at):
            for _ in range(_MOST_REDIRECTS + 1):
                with_token = self._may_have_token(url)
                with self._opened(url, give_up_at, with_token=with_token) as response:
                    if response.status_code == 401 and with_token and not renewed:
                        renewed = self._server("its files").renew_authorization()
                        if renewed:
                            continue
                    if response.has_redirect_location:
                        url = self._next_address(url, response.headers["Location"])
                        continue
                    self._refuse_failure(response, url, with_token=with_token)
                    return self._body(response, give_up_at)
        raise ImageError(f"its server redirected more than {_MOST_REDIRECTS} times. Use the final address.")

    @contextmanager
    def _opened(self, url: str, give_up_at: float, *, with_token: bool) -> Iterator[httpx.Response]:
        """A streamed response; network errors become an `ImageError`."""
        import httpx

        from captionloop.backend.label_studio.checked_network import RefusedHostError

        headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "Captionloop"}
        client = self._http().label_studio if with_token else self._http().elsewhere
        try:
            if with_token:
                headers["Authorization"] = self._server("its files").authorization()
            with client.stream("GET", url, headers=headers) as response:
                yield response
        except LabelStudioError as error:
            raise ImageError(str(error), may_pass=True) from error
        except RefusedHostError as error:
            raise ImageError(self._refusal(url, error), may_pass=True) from error
        except httpx.TimeoutException as error:
            if time.monotonic() >= give_up_at:
                raise ImageError(self._too_slow(), may_pass=True) from error
            said = "its server did not answer in time. Check that it is up and can be reached."
            raise ImageError(said, may_pass=True) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise ImageError(f"this is no valid address ({error}).") from error
        except httpx.HTTPError as error:
            raise ImageError(self._unreachable(url, error, with_token=with_token), may_pass=True) from error

    def _unreachable(self, url: str, error: httpx.HTTPError, *, with_token: bool) -> str:
        if problem := why_not_trusted(error):
            return f"its server cannot be reached: {problem}"
        found = f"its server cannot be reached ({error or type(error).__name__}). Check the address and the network."
        if with_token:
            return found + through_which_proxy(url)
        if proxy := proxy_in_force(url):
            # A proxy would resolve the name itself, so its address could not be checked.
            found += f" Pictures that are not on Label Studio are fetched without the proxy of {proxy[0]}."
        return found

    def _refusal(self, url: str, error: RefusedHostError) -> str:
        found = f"{_shown(url)} is at {error.address}, which is no public address"
        if self._label_studio is not None and self._label_studio.owns(self._label_studio.renamed(url)):
            return (
                f"{found}, and no image of Label Studio's, whose paths begin with /data/upload/ or /data/local-files/. "
                "If Label Studio redirects to its login, check LABEL_STUDIO_API_KEY."
            )
        return f"{found}. If pictures are meant to come from there, add {error.host} to CAPTIONLOOP_IMAGE_HOSTS."

    def _http(self) -> _Clients:
        import httpx

        from captionloop.backend.label_studio.checked_network import CheckedNetwork
        from captionloop.backend.label_studio.deadlines import TimedNetwork, client_on

        with self._clients_lock:
            if self._clients is None:
                timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
                network, trusted = CheckedNetwork(self._allowed), certificates()
                proxy = None if self._label_studio is None else proxy_for(self._label_studio.url)
                self._clients = _Clients(
                    label_studio=client_on(TimedNetwork(), certificates=trusted, proxy=proxy, timeout=timeout),
                    elsewhere=client_on(network, certificates=trusted, timeout=timeout),
                    network=network,
                )
            return self._clients

    def _next_address(self, url: str, location: str) -> str:
        url = self._renamed(urljoin(url, location))
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ImageError(f"its server redirects to {_shown(url)}, which is not http(s).")
        return url

    def _refuse_failure(self, response: httpx.Response, url: str, *, with_token: bool) -> None:
        if response.status_code in {200, 203} or _is_whole_file(response):
            return
        status = response.status_code
        whose = "Label Studio" if with_token else "its server"
        if status in {401, 403} and with_token:
            remedy = "Check that LABEL_STUDIO_API_KEY is current and that its account may see the project."
        elif status == 401:
            remedy = (
                "It wants a login, which is only given to the Label Studio at LABEL_STUDIO_URL. Make the image "
                "readable without, or upload it to Label Studio."
            )
        elif status == 403:
            remedy = (
                "It gives the image to some and not to us: to who may see it, or to pages of its own (a rule against "
                "hot-linking). Make the image readable to everybody, or upload it to Label Studio."
            )
        elif status == 206:
            remedy = "That is a part of the image, for which nobody asked. See that server's settings."
        elif status == 404 and "/resolve/" in url:
            remedy = "Add the storage of this address to the project's settings in Label Studio (Cloud Storage)."
        elif status in {404, 410}:
            remedy = "The image is gone; upload it again or delete the task."
        else:
            remedy = "Try again later; if it stays, see that server's log."
        # These errors are temporary: permissions, or a busy or failing server.
        may_pass = status in {401, 403, 408, 425, 429} or status >= 500
        raise ImageError(
            f"{whose} answered with status {status}. {remedy}{through_which_proxy(url) if with_token else ''}",
            may_pass=may_pass,
        )

    def _body(self, response: httpx.Response, give_up_at: float) -> bytes:
        if (coding := packed_as(response)) is not None:
            raise ImageError(f"its server sent it packed ({coding}), although asked not to. Have it sent as it is.")
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal():
            self._refuse_size(int(announced))
        data = bytearray()
        for chunk in response.iter_raw():  # as they come: waiting for full chunks would outlast the deadline
            data += chunk
            self._refuse_size(len(data))
            if time.monotonic() > give_up_at:
                raise ImageError(self._too_slow(), may_pass=True)
        if _WEB_PAGE.match(data.removeprefix(codecs.BOM_UTF8)):
            raise ImageError("its server answered with a web page, perhaps a login, instead of an image.")
        return _not_empty(bytes(data))

    def _too_slow(self) -> str:
        return f"its server took longer than {self._max_seconds:g} seconds to send it."

    def _decode(self, uri: str) -> bytes:
        head, comma, body = uri.partition(",")
        if not comma:
            raise ImageError("the data: address has no comma, so no content. Use data:image/png;base64,…")
        self._refuse_size(len(body) * 3 // 4 if head.lower().endswith(";base64") else 0)
        data = unquote_to_bytes(body)
        if head.lower().rstrip().endswith(";base64"):
            try:
                data = base64.b64decode(b"".join(data.split()), validate=True)
            except binascii.Error as error:
                raise ImageError(f"the data: address is not valid base64 ({error}).") from error
        self._refuse_size(len(data))
        return _not_empty(data)

    def _refuse_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ImageError(
                f"it has more than {self._max_bytes:,} bytes. Shrink it, or raise CAPTIONLOOP_MAX_IMAGE_MB."
            )


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise ImageError("it is empty.")
    return data


def _is_whole_file(response: httpx.Response) -> bool:
    """Whether a response with status 206 is complete: some servers send a file as the range from 0 to its end."""
    found = _WHOLE_FILE.fullmatch(response.headers.get("Content-Range", "").strip())
    return response.status_code == 206 and found is not None and int(found[1]) + 1 == int(found[2])


def _shown(value: str) -> str:
    """A URL for logs: shortened, and without signature or credentials."""
    shown = value
    if value[:5].lower() == "data:":
        return value[:30] + "…"
    with suppress(ValueError):
        parts = urlsplit(value)
        if parts.netloc:
            query = "?…" if parts.query else ""
            shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
