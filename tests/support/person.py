"""A user at a terminal: `captionloop up`, and other commands while it runs."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.backend.local import services
from captionloop.backend.local.ports import free_port
from captionloop.home import Home
from tests.support.servers import LabelStudioServer

CLI = (sys.executable, "-c", "from captionloop.backend.cli import main; main()")


@dataclass
class Person:
    """Somebody with a home and two free ports."""

    home: Home
    environment: dict[str, str]
    directory: Path

    def starts(self, *arguments: str, command: str = "up") -> "subprocess.Popen[bytes]":
        """`captionloop up`, or another command that goes on by itself."""
        with (self.directory / "up.log").open("ab") as log:
            return subprocess.Popen(
                (*CLI, command, *arguments), env=self.environment, cwd=self.directory, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def does(self, *arguments: str) -> str:
        """Any other command, to its end; what it printed."""
        done = subprocess.run((*CLI, *arguments), env=self.environment, cwd=self.directory, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def asks(self, *arguments: str) -> Any:
        """A command that prints JSON, also when what it tells is bad news."""
        done = subprocess.run(
            (*CLI, *arguments, "--json"), env=self.environment, cwd=self.directory, capture_output=True
        )
        return json.loads(done.stdout)

    def screen(self) -> str:
        """What `captionloop up` has printed."""
        return (self.directory / "up.log").read_text(encoding="utf-8")

    def waits_until_ready(self, up: "subprocess.Popen[bytes]", *, within_s: float) -> float:
        """Seconds that it took."""
        begun = time.monotonic()
        while not services.is_ready(self.home):
            assert up.poll() is None, self.screen()
            assert time.monotonic() - begun < within_s, self.screen()
            time.sleep(0.2)
        return time.monotonic() - begun


def newcomer(directory: Path, *, cache: Path, label_studio: LabelStudioServer | None = None) -> Person:
    """A person who never ran Captionloop, but whose machine has Label Studio installed in `cache`.

    Args:
        label_studio: one that runs already, of which this person has told Captionloop.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CAPTIONLOOP_", "LABEL_STUDIO_")) and name != "REDIS_URL"
    }
    environment |= {
        "CAPTIONLOOP_HOME": str(directory / "home"),
        "CAPTIONLOOP_CACHE": str(cache),
        "CAPTIONLOOP_PORT": str(free_port()),
        "CAPTIONLOOP_LABEL_STUDIO_PORT": str(free_port()),
        "PYTHONUTF8": "1",
    }
    if label_studio is not None:
        environment |= {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    return Person(Home(directory / "home"), environment, directory)
