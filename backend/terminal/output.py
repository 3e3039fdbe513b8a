"""How commands print: captions, titles and file names come from anywhere, and none of them may control a terminal."""

import io
import json
from typing import Any

import click

from captionloop import printable


def print_line(text: str, *, err: bool = False) -> None:
    """One line, whatever it tells of is called."""
    click.echo(printable.one_line(text), err=err)


def print_text(text: str, *, err: bool = False) -> None:
    """A text of several lines; what comes from elsewhere has gone through `printable.one_line` where it has its own."""
    click.echo(printable.lines(text), err=err)


def print_json(value: Any) -> None:
    """Data for other programs, or for the eye."""
    click.echo(printable.json_text(json.dumps(value, indent=2, ensure_ascii=False)))


def print_usage_error(error: click.ClickException) -> None:
    """What Click says of wrong usage, on stderr; it may name a file."""
    said = io.StringIO()
    error.show(said)
    print_text(said.getvalue().removesuffix("\n"), err=True)
