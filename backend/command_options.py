"""What the commands of the command line share: their common options, and how they print."""

import json
from typing import Any

import click

project_option = click.option(
    "--project", "project_id", type=int, metavar="ID",
    help="The project's number in Label Studio. Default: the only one that is connected, else the sample one.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def print_result(value: Any, as_json: bool, text: str) -> None:
    """Print data as JSON, or the same as a text for people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)
