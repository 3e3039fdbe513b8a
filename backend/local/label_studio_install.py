"""Installs Label Studio for `captionloop up`, into its own virtual environment.

Ours would conflict: Label Studio pins older versions of `redis` and `rq`. uv installs it, in a fraction of the time, if
it is available and can be configured like pip; else pip does.
"""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionloop.backend.local import uv
from captionloop.backend.local.interpreters import Interpreter, interpreter, one_that_suits_the_pins
from captionloop.backend.local.processes import Process, Program, how_it_ended
from captionloop.errors import ServiceError
from captionloop.home import read_json, write_json
from captionloop.settings import LABEL_STUDIO_VERSION

_COMPLETE = "complete.json"
_PIP_INSTALL = (
    "-m",
    "pip",
    "install",
    "--no-input",
    "--disable-pip-version-check",
    "--no-compile",
    "--progress-bar=off",
)
OVERRIDES = ("opencv-python-headless>=4.13,<5", "django-environ>=0.12,<1")
"""In place of two pins of Label Studio that do not work on Python 3.14: opencv 4.12 holds numpy to 2.2.6, which has no
wheel there, and django-environ 0.10 imports what 3.14 no longer has. uv can replace a pin, pip cannot."""
_OR_YOURS = "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to one that runs already"


def install(
    cache: Path,
    *,
    progress: Callable[[str], None],
    version: str = LABEL_STUDIO_VERSION,
    requirement: str | None = None,
    python: str | None = None,
) -> Path:
    """Install Label Studio below `cache` if missing; returns its command.

    Safe with concurrent callers: one installs, the others wait. A partial installation of a crash is repeated.

    Args:
        progress: called often with the present step.
        version: by default the supported one; each version has its own environment.
        requirement: what to install, if not this version from the package index.
        python: path or command of the Python to install it with, by default the one that runs us.

    Raises:
        ServiceError: it could not be installed.
        SettingsError: that Python cannot be used.
    """
    chosen = interpreter(python)
    venv = _venv(cache, version, chosen)
    command = venv / "bin" / "label-studio"
    cache.mkdir(parents=True, exist_ok=True)
    with _sole_installer(_beside(venv, ".lock"), progress):
        if not _is_complete(venv, version):
            _make(_Environment(venv, progress), requirement or f"label-studio=={version}", chosen)
            if not command.exists():
                raise ServiceError(f"Installing ended well, but there is no {command}. Delete {venv} and try again.")
            write_json(venv / _COMPLETE, {"label_studio": version})
    return command


def is_installed(cache: Path, version: str = LABEL_STUDIO_VERSION, *, python: str | None = None) -> bool:
    return _is_complete(_venv(cache, version, interpreter(python)), version)


@dataclass(frozen=True)
class _Environment:
    """A virtual environment in the making; `progress` is called with the present step."""

    venv: Path
    progress: Callable[[str], None]

    @property
    def python(self) -> str:
        return str(self.venv / "bin" / "python")

    def begin(self, interpreter: Interpreter) -> None:
        """Create it, empty."""
        shutil.rmtree(self.venv, ignore_errors=True)
        self.run(str(interpreter.path), "-m", "venv", str(self.venv))

    def run(self, *command: str, variables: Mapping[str, str] | None = None) -> None:
        """Run an installation command; its output goes to the log beside the environment.

        Raises:
            ServiceError: it failed.
        """
        log = _beside(self.venv, ".log")
        # The guard ends it together with us, so that it does not interfere with the next installer.
        environment = _environment() | dict(variables or {})
        process = Process(Program("pip", command, environment, directory=self.venv.parent), log=log)
        process.start()
        try:
            while (code := process.exit_code()) is None:
                self.progress(_last_doing(process))
                time.sleep(0.5)
        finally:
            process.stop()
        if code:
            raise ServiceError(
                f"Label Studio could not be installed: {' '.join(command[1:4])} "
                f"{how_it_ended(code)}. If the package index cannot be reached from here, {_OR_YOURS}. "
                f"The log is {log} and ends with:\n{process.last_lines(6)}"
            )

    def uv_variables(self) -> Mapping[str, str] | None:
        """Variables that configure uv like pip; None if that is impossible, or pip cannot read its configuration."""
        told = subprocess.run(
            (self.python, "-m", "pip", "config", "list"), env=_environment(), capture_output=True, text=True
        )
        return uv.as_pip(told.stdout, os.environ) if told.returncode == 0 else None


def _make(made: _Environment, requirement: str, python: Interpreter) -> None:
    _beside(made.venv, ".log").unlink(missing_ok=True)
    made.begin(python)
    if _by_uv(made, requirement, python):
        return
    if not python.suits_the_pins:
        made.begin(_another(python))
    made.run(made.python, *_PIP_INSTALL, requirement)


def _by_uv(made: _Environment, requirement: str, python: Interpreter) -> bool:
    """Install by uv. False if uv is unavailable, cannot be configured like pip, or fails, as its log says."""
    variables = made.uv_variables()
    if variables is None:
        return False
    override = made.venv / "override.txt"
    override.write_text("" if python.suits_the_pins else "\n".join(OVERRIDES), encoding="utf-8")
    try:
        command = uv.ours()
        if command is None:
            made.run(made.python, *_PIP_INSTALL, uv.REQUIREMENT)
            command = made.venv / "bin" / "uv"
        arguments = ("pip", "install", "--python", made.python, "--override", str(override), requirement)
        made.run(str(command), *arguments, variables=variables)
    except ServiceError:
        made.progress("uv did not do it, pip tries")
        return False
    return True


def _another(python: Interpreter) -> Interpreter:
    found = one_that_suits_the_pins()
    if found is None:
        raise ServiceError(
            f"Label Studio {LABEL_STUDIO_VERSION} pins packages that do not work on {python}. uv gets around that, "
            "but could not be used here. Name a Python from 3.10 to 3.13 in CAPTIONLOOP_LABEL_STUDIO_PYTHON, "
            f"or {_OR_YOURS}."
        )
    return found


def _venv(cache: Path, version: str, python: Interpreter) -> Path:
    return cache / f"label-studio-{version}-py{python.version[0]}.{python.version[1]}"


def _beside(venv: Path, suffix: str) -> Path:
    return venv.with_name(venv.name + suffix)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _last_doing(process: Process) -> str:
    """The last output of pip or uv about its progress, shortened to a line."""
    doing = ("Collecting", "Downloading", "Using cached", "Building", "Installing", "Prepared")
    lines = [line.strip() for line in process.last_lines(50).splitlines()]
    found = next((line for line in reversed(lines) if line.startswith(doing)), "")
    return "installing the packages" if found.startswith(("Inst", "Prep")) else found.partition(" (")[0][:60]


def _is_complete(venv: Path, version: str) -> bool:
    # The python is a link, which dangles once the system's own Python was replaced.
    return read_json(venv / _COMPLETE).get("label_studio") == version and (venv / "bin" / "python").exists()


@contextmanager
def _sole_installer(lock: Path, progress: Callable[[str], None]) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting for another Captionloop that installs it")
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)
