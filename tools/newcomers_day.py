"""The steps of a first installation, run by `tools.newcomer` in a clean Debian, with the standard library only."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_BUNDLE = "/srv/captionloop.bundle"
_CLONE = Path.home() / "captionloop"
_READY_WITHIN_S = 3600  # PyTorch is large
_SECOND_WITHIN_S = 30
_ENDED_WITHIN_S = 60


def main() -> None:
    print(f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Python {platform.python_version()}", flush=True)
    subprocess.run(
        [
            "git",
            "-c",
            "init.defaultBranch=main",
            "clone",
            "--quiet",
            "--config=advice.detachedHead=false",
            _BUNDLE,
            str(_CLONE),
        ],
        check=True,
    )
    with _make_run("first start") as first_s:
        _is_captioned()
        _doctor_is_green()
    for folder in (_CLONE / ".venv", Path.home() / ".cache" / "captionloop"):
        print(f"{folder}: {_megabytes(folder)} MB", flush=True)
    with _make_run("second start") as second_s:
        _doctor_is_green()
    if second_s > _SECOND_WITHIN_S:
        sys.exit(f"The second start took {second_s:.0f} s, more than {_SECOND_WITHIN_S} s.")
    print(f"All is well: {first_s:.0f} s, then {second_s:.0f} s.")


@contextmanager
def _make_run(what: str) -> Iterator[float]:
    """`make run` until it is ready; gives the seconds. At the end, Ctrl-C, after which nothing of it may be left."""
    log = Path.home() / f"{what}.log"
    begun = time.monotonic()
    with log.open("wb") as screen:
        # A session of its own, as on a terminal: Ctrl-C reaches make and all that it started.
        run = subprocess.Popen(["make", "run"], cwd=_CLONE, stdout=screen, stderr=screen, start_new_session=True)
    while "Captionloop is ready" not in (said := log.read_text(errors="replace")):
        if run.poll() is not None or time.monotonic() - begun > _READY_WITHIN_S:
            sys.exit(f"make run is not ready after {time.monotonic() - begun:.0f} s, and said:\n{said[-4000:]}")
        time.sleep(0.2)
    took_s = time.monotonic() - begun
    print(f"{what}: ready after {took_s:.0f} s", flush=True)
    yield took_s
    os.killpg(run.pid, signal.SIGINT)
    run.wait(_ENDED_WITHIN_S)
    if left := _processes():
        sys.exit(f"After Ctrl-C these go on: {left}")
    print(f"{what}: after Ctrl-C nothing of it is left", flush=True)


def _is_captioned() -> None:
    studio = _status()["label_studio"]
    url = f"{studio['url']}/api/projects/{studio['project_id']}/"
    request = urllib.request.Request(url, headers={"Authorization": f"Token {studio['token']}"})  # noqa: S310 (ours)
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        project = json.load(answer)
    tasks, captions = project["task_number"], project["total_predictions_number"]
    print(f"{captions} of {tasks} pictures have captions", flush=True)
    if not tasks or tasks != captions:
        sys.exit("Not every picture of the sample project has a caption.")


def _doctor_is_green() -> None:
    said = subprocess.run([".venv/bin/captionloop", "doctor"], cwd=_CLONE, capture_output=True, text=True)
    print(said.stdout, flush=True)
    if said.returncode:
        sys.exit(f"The doctor found something: {said.stderr}")


def _status() -> dict[str, Any]:
    told = subprocess.run([".venv/bin/captionloop", "status", "--json"], cwd=_CLONE, capture_output=True, text=True)
    return json.loads(told.stdout) if told.returncode == 0 else {}


def _processes() -> list[str]:
    """The command lines of all that runs as this user, besides this program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and entry.stat().st_uid == os.getuid():
            found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def _megabytes(folder: Path) -> int:
    told = subprocess.run(["du", "--summarize", "--block-size=1M", str(folder)], capture_output=True, text=True)
    return int(told.stdout.split()[0])


if __name__ == "__main__":
    main()
