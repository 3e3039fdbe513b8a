"""`captionloop connect`, `doctor`, `sync`: the bridge to Label Studio."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from captionloop.backend.commands.shared import (
    chosen_project,
    json_option,
    print_result,
    project_option,
    ready_context,
    running_settings,
)
from captionloop.backend.terminal.output import print_json, print_line

if TYPE_CHECKING:
    from captionloop.backend.projects.connect import Connection


@click.command()
@click.option("--project", "project_id", type=int, required=True, metavar="ID", help="Its number in Label Studio.")
@click.option(
    "--control",
    "controls",
    metavar="NAME",
    multiple=True,
    help="The text box that captions go into. Default: the one of before, else one whose name says caption, "
    "description or alt, else the first. Given again, further boxes are suggested as well, each in its own style.",
)
@click.option(
    "--caption/--no-caption", default=True, help="Caption all its tasks, as soon as a worker is free. Default."
)
@click.option(
    "--improve",
    is_flag=True,
    help="Change label config and task list for quicker corrections: the pencil beside the text, no bin, no "
    "empty panels, a column with the suggestion.",
)
@json_option
def connect(*, project_id: int, controls: Sequence[str], caption: bool, improve: bool, as_json: bool) -> None:
    """Attach the backend to a project of a Label Studio that already runs, and caption its tasks.

    LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say which one; the key may be a legacy token or a personal access token.

    \b
    Example:
        LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=… captionloop connect --project 3
        captionloop connect --project 3 --control caption --improve
        captionloop connect --project 3 --control caption --control title
    """
    from captionloop.backend.label_studio.supported_versions import UPGRADE, too_old
    from captionloop.backend.local.services import attach
    from captionloop.jobs.project.change_settings import change_settings
    from captionloop.model.database import RunKind

    with ready_context() as context:
        # Before the attempt, which may fail for this reason with a misleading message of Label Studio.
        if said := too_old(context.label_studio.version()):
            print_line(f"Warning: Label Studio {said}. {UPGRADE}", err=True)
        context.label_studio.check_address()
        connection = attach(context, project_id, control=next(iter(controls), None), improves=improve)
        if controls:
            others = ",".join(controls[1:]) or "off"
            change_settings(
                context, context.project(connection.project_row_id), [f"other_boxes={others}"], by="connect"
            )
        context.queue.request_sync(connection.project_row_id)  # earlier annotations are corrections as well
        if caption:
            context.queue.request(connection.project_row_id, RunKind.ANNOTATE, asked_by="connect")
    shown = {
        "project_id": connection.project_id,
        "title": connection.title,
        "control": connection.target.from_name,
        "other_controls": list(connection.other_controls),
        "ml_backend_id": connection.ml_backend_id,
        "webhook_id": connection.webhook_id,
        "captioning": caption,
    }
    said = f"Project {connection.project_id} ({connection.title}) is connected. {_where_captions_go(connection)}"
    if caption:
        said += " Its tasks are captioned as soon as a worker is free."
    print_result(shown, as_json, said)


def _where_captions_go(connection: "Connection") -> str:
    said = f"Captions go into the text box {connection.target.from_name!r}."
    if connection.other_controls:
        others = ", ".join(map(repr, connection.other_controls))
        said += f" (Others: {others}. Choose with --control.)"
    return said


@click.command()
@project_option
@json_option
def doctor(*, project_id: int | None, as_json: bool) -> None:
    """Check every service, setting and version, and say for each failure why, and what to do.

    \b
    Example:
        captionloop doctor --project 3
    """
    from captionloop.backend.health.doctor import examine

    checks = examine(running_settings(), label_studio_id=project_id)
    if as_json:
        print_json([check.to_dict() for check in checks])
    else:
        for check in checks:
            print_line(check.line())
    if not all(check.ok for check in checks):
        sys.exit(1)


@click.command()
@project_option
@click.option("--all", "reads_all", is_flag=True, help="Read every annotation again, changed or not.")
@json_option
def sync(*, project_id: int | None, reads_all: bool, as_json: bool) -> None:
    """Fetch corrections from Label Studio, now.

    It reads what changed since the last sync; after a change of the label config's text boxes, everything.

    \b
    Example:
        captionloop sync --project 3
        captionloop sync --all
    """
    from captionloop.backend.terminal.progress import Progress
    from captionloop.jobs.project.sync import sync as sync_project

    with ready_context() as context, Progress("Reading annotations") as progress:
        project = chosen_project(context, project_id)
        result = sync_project(context, project.id, reads_all=reads_all, on_progress=progress.update)
    said = (
        f"{result.new} new, {result.changed} changed, {result.removed} removed; {result.corrections} corrections. "
        f"{result.failed} images cannot be read."
    )
    print_result(asdict(result), as_json, said, *filter(None, [result.notice]))
