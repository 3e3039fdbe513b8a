"""What the commands of the command line share: their common options, what they work with, and how they print."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.model.database import Project

project_option = click.option(
    "--project", "project_id", type=int, metavar="ID",
    help="The project's number in Label Studio. Default: the only one that is connected, else the sample one.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def print_result(value: Any, as_json: bool, text: str) -> None:
    """Print data as JSON, or the same as a text for people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


@contextmanager
def ready_context() -> "Iterator[Context]":
    """The parts of a running `captionloop up`, or what the environment names, with a database that has its tables."""
    from captionloop.backend.local.services import complete
    from captionloop.jobs.context import Context
    from captionloop.settings import Settings

    context = Context.open(complete(Settings.read()))
    try:
        context.database.migrate()
        yield context
    finally:
        context.close()


def chosen_project(context: "Context", label_studio_id: int | None) -> "Project":
    """The project that --project names, else the only one, else the sample one.

    Raises:
        NotFoundError: there is no such project, or nobody can say which is meant.
    """
    from captionloop.backend.projects.project_rows import Projects

    return Projects(context.database, server=context.settings.server_name).choose(label_studio_id)
