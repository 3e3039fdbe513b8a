"""A proxy in front of Label Studio that injects network and server faults."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_PASSED_ON = ("authorization", "content-type", "accept")


class Fault:
    """What can happen to a request."""

    TOO_MANY = "too many"  # 429, and nothing is done
    BROKEN = "broken"  # 500, and nothing is done
    CUT_OFF = "cut off"  # it is carried out, and the answer never arrives
    DONE_BUT_500 = "done but 500"  # it is carried out, and the answer says that it failed
    SLOW = "slow"  # it is carried out, and the answer takes its time, in which its asker may have gone


Decide = Callable[[str, str], str | None]
"""Method and path → the fault that a request meets; None: it is passed on."""


@contextmanager
def faulty_proxy(target: str, decide: Decide, *, slow_s: float = 0.0) -> Iterator[str]:
    """The address of a proxy to `target`.

    Args:
        slow_s: how long a slow answer takes.
    """

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = decide(self.command, self.path)
            if fault == Fault.TOO_MANY:
                return self._reply(429, b"{}")
            if fault == Fault.BROKEN:
                return self._reply(500, b"{}")
            headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
            answer = httpx.request(self.command, target + self.path, content=body, headers=headers, timeout=120)
            if fault == Fault.CUT_OFF:
                self.close_connection = True
                return None
            if fault == Fault.DONE_BUT_500:
                return self._reply(500, b"{}")
            if fault == Fault.SLOW:
                time.sleep(slow_s)
                with suppress(ConnectionError):
                    self._reply(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))
                return None
            return self._reply(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 (the names that its base looks for)

        def _reply(self, status: int, body: bytes, content_type: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
