"""`captionloop project`: a project's settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from captionloop.backend.commands.shared import (
    chosen_project,
    json_option,
    print_result,
    project_option,
    ready_context,
)
from captionloop.backend.terminal.table import table


@click.group("project")
def project_group() -> None:
    """Show and change a project's settings: the text box, the annotation order, and when to train.

    \b
    Example:
        captionloop project show
        captionloop project set control=caption order=sampling train_after=50
    """


@project_group.command()
@project_option
@json_option
def show(*, project_id: int | None, as_json: bool) -> None:
    """Print a project's settings.

    \b
    Example:
        captionloop project show --json
    """
    from captionloop.jobs.project.change_settings import all_settings

    with ready_context() as context:
        settings = all_settings(chosen_project(context, project_id))
    print_result(settings, as_json, _listed(settings))


@project_group.command("set")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE…")
@project_option
@json_option
def set_(*, pairs: Sequence[str], project_id: int | None, as_json: bool) -> None:
    """Change a project's settings; `off` unsets one. docs/label-studio.md lists them.

    \b
    Example:
        captionloop project set order=sampling strategy=uncertainty train_after=50
        captionloop project set control=caption
    """
    from captionloop.jobs.project.change_settings import all_settings, change_settings

    with ready_context() as context:
        project = chosen_project(context, project_id)
        change_settings(context, project, pairs, by="command line")
        settings = all_settings(context.project(project.id))
    print_result(settings, as_json, _listed(settings))


def _listed(settings: Mapping[str, Any]) -> str:
    return table(
        ["setting", "value"], [[name, "off" if value is None else str(value)] for name, value in settings.items()]
    )
