"""Output of commands, with control characters escaped: captions, titles and file names are untrusted."""

import io
import json
from typing import Any

import click

from captionloop import printable


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line, with untrusted text escaped."""
    click.echo(printable.one_line(text), err=err)


def print_text(text: str, *, err: bool = False) -> None:
    """A text of several lines; what comes from elsewhere has gone through `printable.one_line` where it has its own."""
    click.echo(printable.lines(text), err=err)


def print_json(value: Any) -> None:
    """Data for other programs, or for the eye."""
    click.echo(printable.json_text(json.dumps(value, indent=2, ensure_ascii=False)))


def print_usage_error(error: click.ClickException) -> None:
    """Print Click's usage error on stderr; its message may contain a file name."""
    said = io.StringIO()
    error.show(said)
    message = error.format_message()
    text = said.getvalue().replace(
        click.unstyle(message), printable.one_line(message)
    )  # Click has left out the colours
    print_text(text.removesuffix("\n"), err=True)
