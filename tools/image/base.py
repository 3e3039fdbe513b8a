"""A stand-in for the `python:X.Y-slim` that the Dockerfile begins with, from Debian's packages alone.

It has what that image has and the Dockerfile uses: Debian, `python` and `pip` in /usr/local/bin, a shell, `useradd`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tools.image.store import Store

# The Debian that has this Python.
SUITES = {"3.13": "trixie", "3.11": "bookworm"}
_PACKAGES = "ca-certificates,netbase,tzdata,python3,python3-venv"
_PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
# What was only needed to put pip there, and what an image leaves out.
_SLIM = """
python3 -m venv /usr/local
dpkg --purge python3-venv python3.*-venv python3-pip-whl python3-setuptools-whl >/dev/null 2>&1
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/locale/*
python --version && pip --version
"""


def name(python: str) -> str:
    return f"docker.io/library/python:{python}-slim"


def ensure(store: Store, python: str) -> None:
    """Put the base into the store, if it is not there."""
    if store.has(name(python)):
        return
    print(f"Making {name(python)} of Debian's packages ({SUITES[python]}) …", flush=True)
    with tempfile.TemporaryDirectory(prefix="captionloop-base-") as directory:
        root, archive = Path(directory) / "root", Path(directory) / "root.tar"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", SUITES[python], str(root)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        subprocess.run(["chroot", str(root), "sh", "-c", _SLIM], check=True)
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        store.make(name(python), archive, environment=_PATH)
