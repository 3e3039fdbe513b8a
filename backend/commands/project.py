"""`captionloop project`: a project's settings, and a project of a directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    chosen_project,
    folder_options,
    json_option,
    print_result,
    project_option,
    ready_context,
)
from captionloop.backend.terminal.output import print_line
from captionloop.backend.terminal.table import table

if TYPE_CHECKING:
    from captionloop.backend.folders.wanted import As


@click.group("project")
def project_group() -> None:
    """Make a project of a directory; show and change settings: the text box, the annotation order, when to train.

    \b
    Example:
        captionloop project create --title Holidays --images photos/
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
    print_result(settings, as_json, *_listed(settings))


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
    print_result(settings, as_json, *_listed(settings))


@project_group.command("start-from")
@click.argument("model", required=False, metavar="[DIR|HUB_ID]")
@project_option
@json_option
def start_from(*, model: str | None, project_id: int | None, as_json: bool) -> None:
    """Let a project that serves a base start from another model, or the same one with other settings.

    Default: CAPTIONLOOP_MODEL, else the starter model; with CAPTIONLOOP_BEAMS and CAPTIONLOOP_PROMPT. What a project
    starts from is kept in the database, so that processes with other settings do not change it. All suggestions are
    renewed. A project that serves a version which was trained here has to be rolled back first.

    \b
    Example:
        captionloop project start-from Salesforce/blip-image-captioning-base
    """
    from captionloop.jobs.project.promotion import start_from_base

    with ready_context(model=model) as context:
        champion = start_from_base(context, chosen_project(context, project_id))
    print_result({"champion": champion}, as_json, f"The project serves {champion}.")


@project_group.command()
@click.option("--title", metavar="T", required=True, help="The project's title, of 3 to 50 characters.")
@click.option(
    "--images", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="The directory of the pictures, those below it included.",
)  # fmt: skip
@folder_options
@click.option("--new", "is_new", is_flag=True, help="Make one although there is one of this title and directory.")
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    *,
    title: str,
    images: Path,
    captions: Path | None,
    captions_as: "As",
    control: str | None,
    by_line: bool,
    is_new: bool,
    as_json: bool,
) -> None:
    """Make a Label Studio project of a directory of pictures: connected, filled, and with suggestions.

    Label Studio and the backend have to run (`captionloop up`, or your own and `captionloop serve`). The same command
    again goes on after an interruption, and adds what has come since. Pictures that cannot be used are named on
    standard error, and then the exit code is 6.

    \b
    Example:
        captionloop project create --title Holidays --images photos/
        captionloop project create --title Birds --images birds/ --captions birds.csv --as corrections
    """
    from dataclasses import asdict
    from functools import partial

    from captionloop.backend.folders.making import make_folder_project
    from captionloop.backend.folders.wanted import Wanted
    from captionloop.backend.local.services import attach
    from captionloop.backend.terminal.progress import Progress

    wanted = Wanted(images, title, captions, captions_as, control, by_line, is_new)
    with ready_context() as context, Progress("Adding pictures") as progress:
        done = make_folder_project(
            context,
            wanted,
            connect=partial(attach, context),
            on_bad=lambda place, reason: print_line(f"{place}: {reason}", err=True),
            on_place=lambda said: print_line(said, err=True),
            on_progress=progress.update,
        )
        url = f"{context.settings.label_studio_url}/projects/{done.project_id}/data"
    text = (
        f"Project {done.project_id} ({done.title}): {done.new} pictures added, {done.known} were there already, "
        f"{done.bad} could not be used. {done.shows}"
    )
    print_result(asdict(done) | {"url": url}, as_json, text.rstrip(), url)
    ctx.exit(SOME_FAILED if done.bad else 0)


def _listed(settings: Mapping[str, Any]) -> list[str]:
    rows = [[name, "off" if value is None else str(value)] for name, value in settings.items()]
    return table(["setting", "value"], rows).split("\n")
