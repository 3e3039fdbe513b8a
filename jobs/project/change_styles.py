"""Changes of a project's styles, with their effect on suggestions.

A champion that knows the style that is current now writes in it at once, so a captioning run renews the suggestions.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from captionloop.errors import NotFoundError, ServiceError, SettingsError
from captionloop.jobs.context import Context
from captionloop.model.database import Project, RunKind
from captionloop.model.dataset import styles
from captionloop.model.dataset.styles import current_style

_log = logging.getLogger(__name__)

T = TypeVar("T")


def begin_style(
    context: Context,
    project: Project,
    name: str,
    *,
    since: datetime | None = None,
    from_correction: int | None = None,
    language: str | None = None,
) -> int:
    """Begin a style at a moment, or with a correction; see `styles.begin_style` for the others, result and errors.

    Raises:
        NotFoundError: the project has no such correction.
    """

    def begin(session: Session) -> int:
        began = since if from_correction is None else styles.moment_of(session, project.id, from_correction)
        return styles.begin_style(session, project.id, name, since=began, language=language)

    return _renewing(context, project, begin)


def end_style(context: Context, project: Project, name: str) -> str | None:
    """End a style; see `styles.end_style` for arguments, result and errors."""
    return _renewing(context, project, lambda session: styles.end_style(session, project.id, name))


def _renewing(context: Context, project: Project, change: Callable[[Session], T]) -> T:
    """Change the styles, and renew suggestions if the champion writes in another one now.

    That Redis is away is only logged: the styles have changed already, and the run is stored.
    """
    before = written_style(context, project)
    with context.database.session() as session:
        changed = change(session)
    if written_style(context, project) != before:
        try:
            context.queue.request(project.id, RunKind.ANNOTATE, asked_by="another style")
        except ServiceError as error:
            _log.error("%s", error)
    return changed


def written_style(context: Context, project: Project) -> str | None:
    """The style that suggestions are written in: the current one, else the champion's own."""
    try:
        generation = context.versions.champion(project.id).generation
    except NotFoundError:  # nothing is served yet
        return None
    return generation.written_in(current_style(context.database, project.id))


def rename_style(context: Context, project: Project, name: str, *, to: str) -> None:
    """Give a style another name, as long as no version has it; see `styles.rename_style` for the other errors.

    Raises:
        SettingsError: a version was taught it, or a run is going on that may.
    """
    taught = [info.version for info in context.versions.all_of(project.id) if name in info.generation.styles]
    if taught:
        raise SettingsError(
            f"{taught[0]} was taught the style {name!r}, and a version's styles keep their names. Begin another one."
        )
    if any(run.kind is RunKind.FINETUNE for run in context.queue.runs.unfinished(project.id)):
        raise SettingsError(f"A run is going on that may teach the style {name!r}; rename it when the run is over.")
    with context.database.session() as session:
        styles.rename_style(session, project.id, name, to=to)
