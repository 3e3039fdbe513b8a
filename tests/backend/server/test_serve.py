"""`captionloop serve` where it cannot listen: a sentence and an exit code, and nothing begun."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.person import CLI

from captionloop.backend.cli import cli


def _serve(home: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ, "CAPTIONLOOP_HOME": str(home), "REDIS_URL": "redis://localhost:9/0",
        "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40, **settings,
    }  # fmt: skip
    return subprocess.run((*CLI, "serve"), env=environment, capture_output=True, text=True, timeout=120)


def test_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = _serve(tmp_path, CAPTIONLOOP_PORT=port)

    assert ended.returncode == 5
    assert ended.stderr.startswith(f"Error: Port {port} for the backend is taken by ")
    assert f"(process {os.getpid()})" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "captionloop.db").exists()


def test_on_a_host_that_is_not_this_machine(tmp_path: Path) -> None:
    ended = _serve(tmp_path, CAPTIONLOOP_HOST="192.0.2.1")

    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: The backend cannot listen on '192.0.2.1'")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["serve"], ["up"], ["up", "--no-sample"]])
@pytest.mark.parametrize("port", ["0", "65536"])
def test_on_a_port_that_is_none(command: list[str], port: str) -> None:
    said = CliRunner().invoke(cli, [*command, "--port", port])

    assert said.exit_code == 2
    assert "1<=x<=65535" in said.output
