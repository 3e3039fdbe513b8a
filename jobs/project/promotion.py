"""Changing the champion, with all that follows from it: every backend learns of it, and Label Studio asks anew."""

import logging
from functools import partial

from captionloop.errors import ServiceError
from captionloop.jobs.captioning.asking_order import let_backend_answer
from captionloop.jobs.context import Context
from captionloop.model.database import Project, RunKind

_log = logging.getLogger(__name__)


def promote(context: Context, project: Project, version: str, *, reason: str, expected: str | None = None) -> bool:
    """Make a version champion and tell everybody; see `VersionStore.promote` for arguments, answer and errors."""
    context.versions.ensure_champion(project.id, context.base)
    promoted = context.versions.promote(project.id, version, reason=reason, expected=expected)
    if promoted:
        _tell(context, project)
    return promoted


def rollback(context: Context, project: Project) -> str:
    """Go back to the champion before this one and tell everybody; gives its name."""
    champion = context.versions.rollback(project.id)
    _tell(context, project)
    return champion


def _tell(context: Context, project: Project) -> None:
    """The champion has changed already, whatever fails from here on; what does is told, and is made up for later.

    A backend looks by itself, and Label Studio asks for a new suggestion when somebody opens a task.
    """
    steps = (
        partial(context.queue.announce_champion, project.id),
        partial(context.queue.request, project.id, RunKind.ANNOTATE, asked_by="promotion"),
        partial(_ask_anew, context, project.id),
    )
    for step in steps:
        try:
            step()
        except ServiceError as error:
            _log.error("%s", error)


def _ask_anew(context: Context, project_id: int) -> None:
    """Where Label Studio shows the suggestions of the champion before only, have it ask for new ones."""
    project = context.project(project_id)
    if project.sampling_before is not None:
        let_backend_answer(context, project)
