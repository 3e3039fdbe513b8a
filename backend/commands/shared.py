"""Shared by the commands: common options, settings and context, printing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from captionloop.backend.terminal.output import print_json, print_line

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.model.database import Project
    from captionloop.model.exchange.reading import BadRow
    from captionloop.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

PORT = click.IntRange(1, 65535)

project_option = click.option(
    "--project", "project_id", type=int, metavar="ID",
    help="The project's number in Label Studio. Default: the only one that is connected, else the sample one.",
)  # fmt: skip
model_option = click.option(
    "--model", metavar="DIR|HUB_ID", help="The BLIP to start from. Default: CAPTIONLOOP_MODEL, else the starter model."
)
language_option = click.option(
    "--language", metavar="CODE",
    help="The language of the scripted annotator: ar, de, el, fr, he, hi, ja, ru or zh. "
    "Default: English, in other words than the model's.",
)  # fmt: skip
SOME_FAILED = 6
"""The exit code for: done, except for some bad rows, files or tasks."""

lines_option = click.option(
    "--lines", "by_line", is_flag=True,
    help="Each line of a text that belongs to one picture (a sidecar, a shard's .txt) is a caption of its own. "
    "Default: such a text is one caption, and its lines are joined by spaces.",
)  # fmt: skip
images_option = click.option(
    "--images", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Where the pictures lie that the file --dataset names. Default: beside it.",
)  # fmt: skip
_FOLDER_OPTIONS = (
    click.option(
        "--captions", type=click.Path(path_type=Path, exists=True), metavar="FILE",
        help="Captions that there are, in any format of `dataset import`. Default: those in DIR, if any.",
    ),
    click.option(
        "--as", "captions_as", type=click.Choice(["suggestions", "corrections"]), default="suggestions",
        help="What these captions become: suggestions to be corrected, or corrections to be learnt from. Default: "
        "suggestions.",
    ),
    click.option("--control", metavar="NAME", help="The name of the text box. Default: caption."),
    lines_option,
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def reader_options(source: str) -> Callable[[_Command], _Command]:
    """The options of a command that reads captioned pictures from files; `source` is what its argument is called."""
    options = (
        click.option(
            "--images", type=click.Path(path_type=Path), help="Where the pictures lie. Default: beside the captions."
        ),
        click.option(
            "--format", "form",
            type=click.Choice(["imagefolder", "jsonl", "csv", "coco", "karpathy", "json", "sidecar", "webdataset"]),
            help=f"What {source} is. Default: recognised.",
        ),
        lines_option,
        click.option(
            "--split", type=click.Choice(["all", "train", "held-out"]), default="all",
            help="Only this part of a dataset that is divided. Default: all.",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="Rows to look at. Default: all."),
    )  # fmt: skip
    return _with(options)


def folder_options(command: _Command) -> _Command:
    """The options of a command that makes a project of a directory, but for `--images` itself."""
    return _with(_FOLDER_OPTIONS)(command)


def _with(options: Sequence[Callable[[_Command], _Command]]) -> Callable[[_Command], _Command]:
    """All options as one decorator, in this order in the help: decorators apply from the last to the first."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def print_result(value: Any, as_json: bool, *lines: str) -> None:
    """Print data as JSON, or lines for people: what has a break within a line, such as a file's name, forges none."""
    if as_json:
        print_json(value)
        return
    for line in lines:
        print_line(line)


def print_bad_row(row: "BadRow") -> None:
    """Name a row of a dataset that cannot be used."""
    print_line(f"{row.place}: {row.reason}", err=True)


def rest_note(bad: int) -> list[str]:
    """What a result is about if some rows could not be used, as lines."""
    rows = "row" if bad == 1 else "rows"
    return [f"{bad:,} {rows} could not be used (named above); the figures are of the rest."] if bad else []


def read_settings(**given: Any) -> "Settings":
    """The settings of the environment; given values override them, unless None."""
    from captionloop.settings import Settings

    return Settings.read(**given)


def running_settings(**given: Any) -> "Settings":
    """The settings, completed by a running `captionloop up`: addresses, tokens, passwords."""
    from captionloop.backend.local.services import complete

    return complete(read_settings(**given))


def open_context(**given: Any) -> "Context":
    """The context of a running `captionloop up`, or of the environment's services."""
    from captionloop.jobs.context import Context

    return Context.open(running_settings(**given))


def log_to_stderr(settings: "Settings", *, level: str | None = None) -> None:
    """Log as the settings say; all of it with --debug."""
    from captionloop import logs

    debug = click.get_current_context().obj["debug"]
    logs.log_to_stderr(level or settings.log_level, form=settings.log_format, debug=debug)


@contextmanager
def ready_context(**given: Any) -> "Iterator[Context]":
    """The same as a context manager, with a migrated database."""
    context = open_context(**given)
    try:
        context.database.migrate()
        yield context
    finally:
        context.close()


def chosen_project(context: "Context", label_studio_id: int | None) -> "Project":
    """The project of --project, else the only connected one, else the sample one.

    Raises:
        NotFoundError: there is no such project, or the choice is ambiguous.
    """
    from captionloop.backend.projects.project_rows import Projects

    return Projects(context.database, server=context.settings.server_name).choose(label_studio_id)
