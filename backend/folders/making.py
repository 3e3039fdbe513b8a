"""A Label Studio project of a directory of pictures: made, connected, filled, and suggested for.

The next call of the same title and directory adds what is new to the same project, which `links` remembers.
After a crash before that, the project is recognised by its title and description.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.backend.folders.links import link, remember, remembered
from captionloop.backend.folders.picture_folder import OnBad, PictureFolder
from captionloop.backend.folders.places import find_place
from captionloop.backend.folders.tasks import FolderTasks, Progress
from captionloop.backend.folders.wanted import Wanted
from captionloop.backend.label_studio.client import BACKEND_TITLE, IMPORTED_VERSION, LabelStudio
from captionloop.backend.label_studio.editor_style import with_editor_style
from captionloop.backend.label_studio.label_config import caption_label_config
from captionloop.backend.projects.project_texts import description_without_link
from captionloop.errors import CaptionFileError, LabelStudioError, NotFoundError
from captionloop.home import alone
from captionloop.jobs.queue.annotate_settings import AnnotateSettings
from captionloop.model.database import Project, RunKind, Version
from captionloop.model.exchange.reading import Source, find_captions, find_source
from captionloop.settings import LOCAL_SERVER

# Two calls at once would make two projects.
_BUSY = "Another call makes a project of a directory now; wait for its end."

if TYPE_CHECKING:
    from captionloop.backend.projects.connect import Connection
    from captionloop.jobs.context import Context


@dataclass(frozen=True)
class FolderProject:
    """What was done.

    Args:
        project_id: its number in Label Studio.
        new, known, bad: files that were added, that were there already, and that (as rows of captions) cannot be used.
        captions: how many of the new ones came with captions.
        place: where the pictures lie and why, as a sentence.
        shows: whose captions the tasks show, as a sentence; empty: there are no captions.
        run: the id of the captioning run that was requested.
    """

    project_id: int
    title: str
    is_new: bool
    new: int
    known: int
    bad: int
    captions: int
    place: str
    shows: str
    run: str


def make_folder_project(
    context: Context,
    wanted: Wanted,
    *,
    connect: Callable[..., Connection],
    on_bad: OnBad,
    on_place: Callable[[str], None],
    on_progress: Progress,
) -> FolderProject:
    """Make the project, or add to it what is new. It may be killed at any moment and called again.

    Args:
        connect: attaches the backend: called with the project's number, and with `control`.
        on_bad: called with each file or row that cannot be used.
        on_place: called with a sentence that says where the pictures lie, before they are added.

    Raises:
        NotFoundError: there is no such directory, or no picture in it that can be used.
        CaptionFileError: the captions cannot be read, or it is ambiguous which they are.
        BusyError: another process is making one, or another ML backend is attached to the project.
        LabelStudioError: Label Studio refuses, or does not answer.
    """
    source = _captions(wanted)
    with (
        alone(context.home.root / "folders.lock", busy=_BUSY),
        closing(PictureFolder(wanted.directory, limits=context.image_limits, on_bad=on_bad)) as folder,
    ):
        _take_captions(folder, source, wanted)
        example = next(folder.missing(), None)
        if example is None:
            raise NotFoundError(f"No picture in {wanted.images} can be used.")
        project_id, is_new = _find_or_create(context, wanted)
        connection = connect(project_id, control=None if is_new else wanted.control)
        place = find_place(
            context.label_studio, project_id, directory=wanted.directory, seen_as=_seen_as(context, wanted.directory),
            example=example, read=context.read_image,
        )  # fmt: skip
        on_place(place.said)
        tasks = FolderTasks(
            context.label_studio, context.database, project_id, connection.project_row_id, connection.target, folder,
            place, wanted.captions_as == "corrections", on_progress,
        )  # fmt: skip
        tasks.add()
        return FolderProject(
            project_id=project_id,
            title=connection.title,
            is_new=is_new,
            new=tasks.new,
            known=folder.with_tasks - tasks.new,
            bad=folder.bad,
            captions=tasks.new_with_captions,
            place=place.said,
            shows=_show_captions(context, folder, connection, wanted),
            run=_request_suggestions(context, connection.project_row_id, wanted),
        )


# Captions -------------------------------------------------------------------------------------------------------------


def _captions(wanted: Wanted) -> Source | None:
    if wanted.captions is None:
        found = find_captions(wanted.directory, by_line=wanted.by_line) if wanted.directory.is_dir() else None
        return None if found is None or found.format == "webdataset" else found
    images = None if wanted.captions.is_dir() else wanted.directory
    return find_source(wanted.captions.resolve(), images=images, by_line=wanted.by_line)


def _take_captions(folder: PictureFolder, source: Source | None, wanted: Wanted) -> None:
    try:
        if source is not None:
            folder.take_captions(source)
    except CaptionFileError as error:
        if wanted.captions is not None:
            raise
        remedy = "Name the captions with --captions; if that file has none, move it out of the directory."
        raise CaptionFileError(f"{error} {remedy}") from error


def _show_captions(context: Context, folder: PictureFolder, connection: Connection, wanted: Wanted) -> str:
    """Have tasks show the captions that were there, until a version has been trained.

    Label Studio shows the predictions of one name, so where most pictures have no captions the model's are better.
    """
    count = folder.captioned
    if not count or wanted.captions_as == "corrections":
        return ""
    if 2 * count < len(folder):
        return (
            f"{count} of {len(folder)} pictures have captions, so tasks show the model's suggestions; the captions are "
            "the other predictions of a task. (With --as corrections they are learnt from.)"
        )
    if not _are_shown(context, connection):
        return ""
    said = "Tasks show the captions that were there, until a trained version takes their place."
    if count < len(folder):
        said += (
            f" The {len(folder) - count} without one show the model's suggestion if opened from the list; Label All "
            "Tasks shows none there."
        )
    return said


def _are_shown(context: Context, connection: Connection) -> bool:
    """Whether tasks show the captions that were there, once that was asked for if nothing has been promoted yet."""
    label_studio = context.label_studio
    shown = label_studio.project(connection.project_id)["model_version"]
    if shown != BACKEND_TITLE or not _has_base(context, connection.project_row_id):
        return bool(shown == IMPORTED_VERSION)
    try:
        label_studio.update_project(connection.project_id, model_version=IMPORTED_VERSION)
    except LabelStudioError as error:
        if error.status != 400:
            raise
        return False  # the tasks with these captions have been deleted
    return True


def _has_base(context: Context, row_id: int) -> bool:
    """Whether nothing has been promoted yet."""
    with context.database.reading() as session:
        version = session.get(Version, session.get_one(Project, row_id).champion or "")
    return version is None or version.project_id is None


def _request_suggestions(context: Context, row_id: int, wanted: Wanted) -> str:
    if wanted.captions_as == "corrections":
        context.queue.request_sync(row_id)
    settings = AnnotateSettings(only_missing=True).to_dict()
    return context.queue.request(row_id, RunKind.ANNOTATE, asked_by="new pictures", settings=settings).run.id


# The project ----------------------------------------------------------------------------------------------------------


def _find_or_create(context: Context, wanted: Wanted) -> tuple[int, bool]:
    """The project's number in Label Studio, and whether it was made just now."""
    label_studio, home = context.label_studio, context.home
    facts = {
        "server": context.settings.server_name, "title": wanted.project_title, "directory": str(wanted.directory),
    }  # fmt: skip
    found = None if wanted.is_new else _known(context, facts) or _left_by_a_crash(label_studio, wanted)
    made = found is None
    if found is None:
        config = with_editor_style(caption_label_config(wanted.control))
        created = label_studio.create_project(wanted.project_title, config, description=wanted.description)
        found = int(created["id"])
    remember(home, facts | {"project_id": found})
    return found, made


def _known(context: Context, facts: dict[str, Any]) -> int | None:
    for entry in remembered(context.home):
        if entry | facts == entry and context.label_studio.has_project(entry["project_id"]):
            return int(entry["project_id"])
    return None


def _left_by_a_crash(label_studio: LabelStudio, wanted: Wanted) -> int | None:
    for project in label_studio.projects():
        described = description_without_link(project.get("description"))
        if (project["title"], described) == (wanted.project_title, wanted.description):
            return int(project["id"])
    return None


def _seen_as(context: Context, directory: Path) -> Path:
    """Where Label Studio may see the directory: that of `captionloop up` through a link, since it sees nothing else."""
    return link(context.home, directory) if context.settings.server_name == LOCAL_SERVER else directory
