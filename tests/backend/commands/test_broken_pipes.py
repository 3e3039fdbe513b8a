"""A reader that closes its pipe (`| head`) causes no error; a broken pipe of our own is reported."""

import subprocess
import sys

import click
import pytest

from captionloop.backend.cli import cli, main

_TALKS = """
import sys, click
from captionloop.backend.cli import cli, main
@cli.command()
def talk():
    sys.stdin.read()
    click.echo("much")
main(["talk"])
"""


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _TALKS], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        process.stdout.close()
        _, said = process.communicate(b"")

    assert said == b""


def test_a_broken_pipe_of_our_own_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def talk() -> None:
        with subprocess.Popen(["true"], stdin=subprocess.PIPE, text=True) as listener:
            listener.wait()
            assert listener.stdin
            print("much", file=listener.stdin, flush=True)

    monkeypatch.setitem(cli.commands, "talk", talk)

    with pytest.raises(RuntimeError, match="has gone"):
        main(["talk"])
