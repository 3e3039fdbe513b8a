"""A picture server with configurable faults."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.scripted_studio import Reply


@contextmanager
def pictures_answered(*replies: Reply, hangs: threading.Event | None = None) -> Iterator[str]:
    """The address of a picture that is answered so: the first time with the first, later with the last.

    Args:
        hangs: nothing is answered before it is set.
    """
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hangs is not None:
                hangs.wait(10)
            reply = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a.png"
        finally:
            if hangs is not None:
                hangs.set()
            server.shutdown()
            thread.join()
