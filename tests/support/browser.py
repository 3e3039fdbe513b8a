"""A browser for the tests: one that is installed, else Playwright's own, else Debian's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import BrowserType

NO_BROWSER = "No browser could be had"

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLACES = (
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_DOWNLOAD_WITHIN_S = 300
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


class NoBrowserError(Exception):
    """Why there is no browser: what was tried, one reason each."""


def find_or_install(chromium: "BrowserType") -> str:
    """The path of a Chromium or Chrome that can be started.

    Raises:
        NoBrowserError: none is installed, and none could be installed.
    """
    found = _installed() or _playwrights_own(chromium)
    if found:
        return found
    reasons = []
    for install in _ways_to_install():
        reason = _run(install)
        found = _installed() or _playwrights_own(chromium)
        if found:
            return found
        reasons.append(f"`{' '.join(install[-3:])}`: {reason or 'brought none'}")
    raise NoBrowserError("; ".join(reasons) or "no way to install one")


def _installed() -> str | None:
    named = (shutil.which(name) for name in _NAMES)
    placed = (place for place in _PLACES if os.access(place, os.X_OK))
    return next((path for path in (*named, *placed) if path), None)


def _playwrights_own(chromium: "BrowserType") -> str | None:
    path = chromium.executable_path
    return path if Path(path).exists() else None


def _ways_to_install() -> Iterator[list[str]]:
    yield [sys.executable, "-m", "playwright", "install", "chromium"]
    if shutil.which("apt-get") and os.geteuid() == 0:
        yield ["apt-get", "-qq", "update"]
        yield ["apt-get", "-qq", "--yes", "--no-install-recommends", "install", "chromium"]


def _run(command: list[str]) -> str | None:
    """Run an installer; the last line it said when it failed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_WITHIN_S, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return None if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")
