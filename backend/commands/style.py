"""`captionloop style`: a project's styles."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from captionloop.backend.commands.shared import (
    chosen_project,
    json_option,
    print_result,
    project_option,
    ready_context,
)
from captionloop.backend.terminal.table import table

if TYPE_CHECKING:
    from captionloop.model.dataset.styles import StyleInfo
    from captionloop.model.progress.style_changes import StyleChange

_UNNAMED = "(without a name)"
_TOLD = 8  # changes


@click.group("style")
def style_group() -> None:
    """Show and change a project's styles: manners of writing, each from a moment on (docs/styles.md).

    \b
    Example:
        captionloop style begin "guide of May" --since 2026-05-04
        captionloop style list
    """


@style_group.command("list")
@project_option
@json_option
def list_(*, project_id: int | None, as_json: bool) -> None:
    """List the styles with how many corrections belong to each.

    \b
    Example:
        captionloop style list --json
    """
    from captionloop.model.dataset.styles import styles_of

    with ready_context() as context, context.database.reading() as session:
        styles = styles_of(session, chosen_project(context, project_id).id)
    print_result([style.to_dict() for style in styles], as_json, *_listed(styles).split("\n"))


@style_group.command()
@project_option
@json_option
def changes(*, project_id: int | None, as_json: bool) -> None:
    """Say what people write otherwise than before, in the same way again and again, in their latest 200 corrections.

    Each change is named with how often it was made and an example. If they are to be followed, begin a style with the
    correction that is named; if they are mistakes, leave those corrections out.

    \b
    Example:
        captionloop style changes
    """
    from captionloop.model.progress.style_changes import changes_of

    with ready_context() as context, context.database.reading() as session:
        found = changes_of(session, chosen_project(context, project_id).id)
    print_result([asdict(change) for change in found], as_json, *_told(found))


@style_group.command()
@click.argument("name")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]), metavar="WHEN",
    help="When it began, in UTC: 2026-05-04 or 2026-05-04T14:30. Default: now.",
)  # fmt: skip
@click.option("--from-correction", type=int, metavar="ID", help="It began with this correction; its number.")
@click.option("--language", help="The language of its captions, for people.")
@project_option
@json_option
def begin(
    *,
    name: str,
    since: datetime | None,
    from_correction: int | None,
    language: str | None,
    project_id: int | None,
    as_json: bool,
) -> None:
    """Begin the style NAME: the corrections made from its beginning on belong to it.

    Captions are suggested in it once a version that knows it serves, so after the next run. Earlier corrections stay
    in their style, and go on teaching what pictures show.

    \b
    Example:
        captionloop style begin "guide of May" --since 2026-05-04
        captionloop style begin British --from-correction 214
    """
    from captionloop.jobs.project.change_styles import begin_style

    if since is not None and from_correction is not None:
        raise click.UsageError("--since and --from-correction both say when it began; give one of them.")
    began = since.replace(tzinfo=UTC) if since else None
    with ready_context() as context:
        project = chosen_project(context, project_id)
        moved = begin_style(
            context, project, name, since=began, from_correction=from_correction, language=language
        )  # fmt: skip
    print_result({"style": name, "corrections": moved}, as_json, f"{name} has begun, with {_corrections(moved)}.")


@style_group.command()
@click.argument("name")
@click.argument("to")
@project_option
@json_option
def rename(*, name: str, to: str, project_id: int | None, as_json: bool) -> None:
    """Call the style NAME TO from now on, as long as no version was taught it.

    \b
    Example:
        captionloop style rename "from 2026-05-04" "guide of May"
    """
    from captionloop.jobs.project.change_styles import rename_style

    with ready_context() as context:
        rename_style(context, chosen_project(context, project_id), name, to=to)
    print_result({"style": to}, as_json, f"{name} is called {to} now.")


@style_group.command()
@click.argument("name")
@project_option
@json_option
def end(*, name: str, project_id: int | None, as_json: bool) -> None:
    """End the style NAME: the one before it is current again. Its corrections stay in it.

    \b
    Example:
        captionloop style end British
    """
    from captionloop.jobs.project.change_styles import end_style

    with ready_context() as context:
        current = end_style(context, chosen_project(context, project_id), name)
    print_result({"current": current}, as_json, f"{name} has ended. The current style is {current or _UNNAMED}.")


@style_group.command()
@click.argument("corrections", type=int, nargs=-1, required=True, metavar="ID…")
@click.option("--to", metavar="NAME", help="The style that they are of. Default: the one without a name.")
@project_option
@json_option
def move(*, corrections: Sequence[int], to: str | None, project_id: int | None, as_json: bool) -> None:
    """Have corrections belong to another style, by their numbers (`captionloop dataset list`).

    \b
    Example:
        captionloop style move 214 215 --to British
    """
    from captionloop.model.dataset.styles import move_corrections

    with ready_context() as context, context.database.session() as session:
        moved = move_corrections(session, chosen_project(context, project_id).id, corrections, to=to)
    print_result({"style": to, "moved": moved}, as_json, f"Moved {_corrections(moved)} to {to or _UNNAMED}.")


def _told(changes: "Sequence[StyleChange]") -> list[str]:
    if not changes:
        return ["People write as before, as far as their latest corrections show."]
    lines = [f"- {change}, such as: {change.latest.suggestion} → {change.latest.caption}" for change in changes[:_TOLD]]
    first = min(change.first.number for change in changes)
    return [
        "People write otherwise than before:",
        *lines,
        f"To follow them: captionloop style begin NAME --from-correction {first}",
    ]


def _corrections(count: int) -> str:
    return "one correction" if count == 1 else f"{count} corrections"


def _listed(styles: "Sequence[StyleInfo]") -> str:
    rows = [
        [
            style.name or _UNNAMED,
            f"{style.since:%Y-%m-%d %H:%M}" if style.since else "the beginning",
            "current" if style.is_current else f"ended {style.ended_at:%Y-%m-%d %H:%M}" if style.ended_at else "",
            style.language or "",
            str(style.corrections),
        ]
        for style in styles
    ]
    return table(["style", "since (UTC)", "state", "language", "corrections"], rows)
