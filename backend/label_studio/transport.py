"""HTTP requests to Label Studio, with a deadline, a size limit and safe retries."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio import messages
from captionloop.backend.label_studio.network_environment import certificates, proxy_for
from captionloop.errors import LabelStudioError

if TYPE_CHECKING:
    import httpx

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0)
TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
# Factor on the timeout for a request with its retries, and for a server that keeps sending, but slowly.
_PATIENCE = 3.0
# A page of a hundred tasks with annotations and arbitrary data.
_LARGEST_ANSWER_BYTES = 500_000_000
_LONGEST_RETRY_AFTER_S = 30.0
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})
# With these the server has done nothing, so that even a request that creates something may be retried.
_NOTHING_DONE = frozenset({429, 503})
_REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class Transport:
    """HTTP transport to one Label Studio. Thread-safe."""

    def __init__(self, url: str, *, retry_delays_s: Sequence[float] = RETRY_DELAYS_S) -> None:
        """Makes no request yet.

        Args:
            url: its address, without a trailing slash.
            retry_delays_s: seconds to wait before each retry when the server is busy or unreachable.
        """
        self.url = url
        self._retry_delays_s = tuple(retry_delays_s)
        self._client_lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._before_retry: Callable[[], None] = _go_on

    def close(self) -> None:
        """Close its connections. Idempotent; it can be used again."""
        with self._client_lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def telling_of_retries(self, tell: Callable[[], None]) -> Iterator[None]:
        """Within the block, call a function before each retry (`LabelStudio.telling_of_retries`)."""
        before, self._before_retry = self._before_retry, tell
        try:
            yield
        finally:
            self._before_retry = before

    def send(
        self, method: str, path: str, *, credentials: Mapping[str, str], timeout_s: float = TIMEOUT_S, **request: Any
    ) -> httpx.Response:
        """Send a request, again and again while there is hope and it does no harm.

        Args:
            credentials: the headers that say who asks.
            timeout_s: how long the server may send nothing.
            request: what httpx takes (`params`, `json`, `data`, `files`).

        Returns:
            The answer, whatever its status, read to its end.

        Raises:
            LabelStudioError: there was no answer, or none that may be read.
        """
        import httpx

        from captionloop.backend.label_studio.deadlines import until

        request["headers"] = {"Accept": "application/json", "Accept-Encoding": "identity", **credentials}
        request["timeout"] = httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S)
        give_up_at = time.monotonic() + _PATIENCE * timeout_s
        for delay_s in (*self._retry_delays_s, None):
            try:
                with until(give_up_at):
                    response = self._exchange(method, path, **request)
            except LabelStudioError as error:
                if delay_s is None or not _may_repeat(method, error) or time.monotonic() + delay_s >= give_up_at:
                    raise
                wait_s = _with_jitter(delay_s)
            else:
                if delay_s is None or not _is_worth_another_try(method, response):
                    return response
                wait_s = _wait_s(response, delay_s)
            self._before_retry()
            time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _exchange(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request with its complete response, not decompressed and limited in size."""
        import httpx

        try:
            with self._http().stream(method, self.url + path, **request) as response:
                content = self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise messages.no_answer(self.url, error) from error
        return httpx.Response(response.status_code, headers=response.headers, content=content, request=response.request)

    def _read(self, response: httpx.Response) -> bytes:
        if (coding := packed_as(response)) is not None:
            raise messages.packed(self.url, coding, status=response.status_code)
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > _LARGEST_ANSWER_BYTES:
                raise messages.too_large(self.url, _LARGEST_ANSWER_BYTES, status=response.status_code)
        return bytes(content)

    def _http(self) -> httpx.Client:
        from captionloop.backend.label_studio.deadlines import TimedNetwork, client_on

        with self._client_lock:
            if self._client is None:
                # Redirects are not followed: a misconfigured address should be told of, and no token leave for another.
                self._client = client_on(TimedNetwork(), certificates=certificates(), proxy=proxy_for(self.url))
            return self._client


def json_of(url: str, response: httpx.Response, *, what: str) -> Any:
    """The JSON of a successful response; None if it is empty.

    Args:
        what: names the thing that was asked for.

    Raises:
        LabelStudioError: the server refused, or sent no JSON.
    """
    if not response.is_success:
        raise messages.refusal(url, response, what)
    if not response.content:
        return None
    try:
        return response.json()
    except (ValueError, RecursionError) as error:
        raise messages.no_json(url, response) from error


def packed_as(response: httpx.Response) -> str | None:
    """The unrequested Content-Encoding of a response, shortened for messages; None: not encoded."""
    coding: str = response.headers.get("Content-Encoding", "identity").strip().lower()
    return None if coding in {"", "identity"} else coding[:40]


def _go_on() -> None:
    pass


def _may_repeat(method: str, error: LabelStudioError) -> bool:
    """Whether a request that failed with this may be sent again: it never arrived, or may well arrive twice."""
    import httpx

    is_unsent = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
    is_answered = error.status is not None
    return not is_answered and (is_unsent or method in _REPEATABLE)


def _is_worth_another_try(method: str, response: httpx.Response) -> bool:
    return response.status_code in (_WORTH_ANOTHER_TRY if method in _REPEATABLE else _NOTHING_DONE)


def _with_jitter(delay_s: float) -> float:
    # Several processes that were refused together should not come back together.
    return delay_s * random.uniform(0.8, 1.2)  # noqa: S311 (no secret depends on it)


def _wait_s(response: httpx.Response, delay_s: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_RETRY_AFTER_S) if asked.isdecimal() else _with_jitter(delay_s)
