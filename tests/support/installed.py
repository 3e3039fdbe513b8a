"""Programs of the system that some tests need beside ours: found, or installed by Debian's packages."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_INSTALLS_WITHIN_S = 300


def program(name: str, *, package: str) -> str:
    """The path of a program; where it is not installed and cannot be, the test is skipped."""
    return str(_there_or_installed(lambda: shutil.which(name), package))


def library(name: str, *, package: str) -> Path:
    """The path of a shared library below /usr/lib; otherwise as above."""
    return Path(str(_there_or_installed(lambda: next(Path("/usr/lib").glob(f"*/**/{name}"), None), package)))


def _there_or_installed(find: Callable[[], object], package: str) -> object:
    if (found := find()) is not None:
        return found
    reason = _install(package)
    if (found := find()) is not None:
        return found
    return pytest.skip(f"Debian's package {package} is not installed here ({reason})")


def _install(package: str) -> str:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "and only root can install it, by apt-get"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["--yes", "--no-install-recommends", "install", package]):
        done = subprocess.run(
            ["apt-get", "-qq", *arguments], capture_output=True, text=True, timeout=_INSTALLS_WITHIN_S, env=environment
        )
    return (done.stderr.strip().splitlines() or ["apt-get brought none"])[-1]
