"""`captionloop train` killed (SIGKILL) at any moment: `--resume` ends with the same weights, and nothing is half-made.

A driver has trained once, so that whatever a training imports and compiles is there, and forks a process for each
training. In one that is to be killed an audit hook counts what it does to files below `--out` (opening, renaming,
removing), and kills it at one of these.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from captionloop.model.starter.folder import draw_folder

pytestmark = pytest.mark.slow

STEPS = 4

_DRIVER = """
import contextlib, gc, io, json, os, signal, sys
import torch
from captionloop.backend.cli import main
from captionloop.backend.commands import train_folder
from captionloop.model.captioning import captioner
from captionloop.model.training import loop
from transformers import BlipForConditionalGeneration, BlipImageProcessorPil

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
torch.set_num_threads(1)


def watch(out, kill_at, counted):
    count = 0

    def hook(event, arguments):
        nonlocal count
        if event in FILE_EVENTS and str(arguments[0]).startswith(out):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if counted is not None:
                os.pwrite(counted, str(count).encode().ljust(9), 0)

    sys.addaudithook(hook)


def run(arguments, *, state_every_s, kill_at=0, counted=None):
    child = os.fork()
    if child == 0:
        loop._STATE_EVERY_S = state_every_s
        watch(arguments[arguments.index("--out") + 1], kill_at, counted)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            main(["train", *arguments])
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["train", *sys.argv[1:]])
gc.collect()
gc.freeze()  # else each process looks at all that is shared, and so copies it
for line in sys.stdin:
    asked = json.loads(line)
    arguments, every = asked["arguments"], asked["state_every_s"]
    if asked["kill_at"]:
        codes = [run(arguments, state_every_s=every, kill_at=asked["kill_at"]), run(arguments, state_every_s=every)]
        print(json.dumps(codes), flush=True)
    else:
        counted = os.memfd_create("count")
        code = run(arguments, state_every_s=every, counted=counted)
        print(json.dumps([code, int(os.pread(counted, 9, 0))]), flush=True)
"""


class Driver:
    def __init__(self, photos: Path, directory: Path) -> None:
        self._photos, self._directory = photos, directory
        command = [sys.executable, "-c", _DRIVER, *self._arguments("trained before")]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CAPTIONLOOP_")}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=inherited | {"CAPTIONLOOP_HOME": str(directory / "home"), "CAPTIONLOOP_BEAMS": "1"},
        )

    def train(self, name: str, *, kill_at: int = 0, state_every_s: float = -1.0) -> tuple[Path, list[int]]:
        """The model, and how the killed and the resumed process ended; or the only one, and its number of moments."""
        asked: dict[str, Any] = {
            "arguments": self._arguments(name),
            "kill_at": kill_at,
            "state_every_s": state_every_s,
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._directory / name, list(json.loads(self._process.stdout.readline()))

    def _arguments(self, name: str) -> list[str]:
        settings = ["--set", f"steps={STEPS}", "--set", "batch_size=4", "--set", "validation_share=0.2"]
        return [str(self._photos), "--out", str(self._directory / name), "--resume", *settings]

    def close(self) -> None:
        self._process.communicate(timeout=60)


def _weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    directory = tmp_path_factory.mktemp("killed")
    made = Driver(draw_folder(directory / "photos", 12), directory)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("state_every_s", "spread", "last"),
    [
        pytest.param(-1.0, 8, 5, id="a state at each step, and while the model is put in its place"),
        pytest.param(1e9, 3, 0, id="before the first state"),
    ],
)
def test_killed_at_any_moment_it_ends_with_the_same_weights(
    state_every_s: float, spread: int, last: int, driver: Driver
) -> None:
    """
    Args:
        spread: how many moments from the first to the last.
        last: how many of the last ones, each.
    """
    unbroken, (code, moments) = driver.train(f"unbroken-{spread}", state_every_s=state_every_s)
    assert code == 0
    assert moments > 20
    expected, there = _weights(unbroken), sorted(path.name for path in unbroken.iterdir())
    chosen = {1 + moments * place // spread for place in range(spread)} | set(range(moments - last, moments + 1))
    for moment in sorted(chosen):
        out, codes = driver.train(f"killed-{spread}-{moment}", kill_at=moment, state_every_s=state_every_s)
        assert codes == [-9, 0], moment
        found = _weights(out)
        assert all(torch.equal(expected[name], found[name]) for name in expected), moment
        assert sorted(path.name for path in out.iterdir()) == there, moment
