"""The Python interpreter for Label Studio's virtual environment."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from captionloop.errors import SettingsError

_VARIABLE = "CAPTIONLOOP_LABEL_STUDIO_PYTHON"
_OLDEST = (3, 10)  # of those that Label Studio says it runs on
# In the order in which they are taken. All that Label Studio pins has wheels for them and runs on them.
_SUITING_THE_PINS = ((3, 13), (3, 12), (3, 11), (3, 10))
# On Debian, venv can be there without ensurepip, and then makes nothing.
_PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
_PROBE_WITHIN_S = 30


@dataclass(frozen=True)
class Interpreter:
    """A Python that can create virtual environments."""

    path: Path
    version: tuple[int, int]

    @property
    def suits_the_pins(self) -> bool:
        """Whether all versions that Label Studio pins have wheels for this Python, and run on it."""
        return self.version <= _SUITING_THE_PINS[0]

    def __str__(self) -> str:
        return f"Python {self.version[0]}.{self.version[1]}"


def interpreter(named: str | None) -> Interpreter:
    """The Python of a path or command, by default the one that runs us.

    Raises:
        SettingsError: Label Studio cannot be installed with it.
    """
    if named is None:
        return Interpreter(Path(sys.executable), sys.version_info[:2])
    path = shutil.which(os.path.expanduser(named))
    version = _version(path) if path else None
    if path is None or version is None or version < _OLDEST:
        raise SettingsError(
            f"{_VARIABLE} is {named!r}, but must be a Python, 3.10 or newer, that can make virtual environments "
            "(on Debian and Ubuntu, venv is a package of its own)."
        )
    return Interpreter(Path(path), version)


def one_that_suits_the_pins() -> Interpreter | None:
    """Another Python on the PATH that works with Label Studio's pins; None if there is none."""
    for version in _SUITING_THE_PINS:
        path = shutil.which(f"python{version[0]}.{version[1]}")
        if path and _version(path) == version:
            return Interpreter(Path(path), version)
    return None


def _version(path: str) -> tuple[int, int] | None:
    """Its version; None if it is not a Python, or cannot create virtual environments."""
    try:
        told = subprocess.run(
            [path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_WITHIN_S, check=True
        )
        major, minor = told.stdout.split()
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
