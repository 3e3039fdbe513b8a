"""A package index on loopback, and packages for it that bring next to nothing, so that installing takes a moment."""

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def write_wheel(
    directory: Path, name: str, version: str, *, requires: tuple[str, ...] = (), command: str | None = None
) -> Path:
    """A package whose `command`, if it has one, prints the package's version."""
    module, distribution = f"tiny_{name.replace('-', '_')}", name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    wheel = directory / f"{distribution}-{version}-py3-none-any.whl"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{module}.py", f"def main():\n    print({version!r})\n")
        archive.writestr(f"{info}/METADATA", "\n".join([*metadata, ""]))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        if command:
            archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{command} = {module}:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


class PackageIndex:
    """What is served, and by which clients it was asked."""

    def __init__(self, directory: Path, url: str, clients: set[str]) -> None:
        self.url = url
        self.clients = clients
        self._directory = directory

    def add(self, name: str, version: str, *, requires: tuple[str, ...] = (), command: str | None = None) -> None:
        write_wheel(self._directory / "simple" / name, name, version, requires=requires, command=command)


@contextmanager
def running_index(directory: Path) -> Iterator[PackageIndex]:
    clients: set[str] = set()

    class Pages(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            clients.add(self.headers["User-Agent"].partition("/")[0])
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    (directory / "simple").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield PackageIndex(directory, f"http://127.0.0.1:{server.server_port}/simple", clients)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
