"""A real nginx in front of a backend, as docs/security.md asks for on a network that is not trusted."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captionloop.backend.local.ports import free_port
from tests.support.installed import program

# As in nginx's own documentation of a reverse proxy: what it does not say here is its default, buffering included.
_CONFIG = """
user root;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {backend};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
_STARTS_WITHIN_S = 60


@contextmanager
def nginx_before(backend: str, directory: Path) -> Iterator[str]:
    """Its address. It asks the backend from 127.0.0.1, and may be asked from any address of 127.0.0.0/8."""
    binary, port = program("nginx", package="nginx-light"), free_port()
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, port=port, backend=backend))
    with subprocess.Popen([binary, "-p", str(directory), "-c", str(config)]) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx does not start")
