"""Changes of the champion: promotion, rollback or another base, notification of backends, renewal of suggestions."""

import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy.orm import Session

from captionloop.errors import ServiceError, SettingsError
from captionloop.jobs.captioning.asking_order import let_backend_answer
from captionloop.jobs.context import Context
from captionloop.model.database import Project, RunKind

_log = logging.getLogger(__name__)


def promote(
    context: Context,
    project: Project,
    version: str,
    *,
    reason: str,
    expected: str | None = None,
    also: Callable[[Session], None] = lambda session: None,
) -> bool:
    """Make a version champion and notify; see `VersionStore.promote` for arguments, result and errors."""
    context.versions.ensure_champion(project.id, context.base)
    promoted = context.versions.promote(project.id, version, reason=reason, expected=expected, also=also)
    if promoted:
        _tell(context, project)
    return promoted


def rollback(context: Context, project: Project) -> str:
    """Make the previous champion champion again and notify; returns its name."""
    champion = context.versions.rollback(project.id)
    _tell(context, project)
    return champion


def start_from_base(context: Context, project: Project) -> str:
    """Let a project that serves a base serve the one of these settings, and notify; returns its champion's name.

    Raises:
        SettingsError: the project has learnt already.
        CheckpointError: there is no BLIP at the base's source.
    """
    if context.versions.start_from(project.id, context.base):
        _tell(context, project)
    champion = context.versions.champion(project.id)
    if champion.snapshot is not None:
        raise SettingsError(
            f"Project {project.label_studio_id} serves {champion.version}, which was trained here. Only one serving "
            "a base can start from another. Promote one first; `captionloop versions` names those that it served."
        )
    return champion.version


def _tell(context: Context, project: Project) -> None:
    """Notify backends and renew suggestions. Failures are only logged, since the champion has already changed.

    Backends also poll, and Label Studio requests a new suggestion when a task is opened.
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
    """If Label Studio shows only the previous champion's suggestions, make it request new ones."""
    project = context.project(project_id)
    if project.sampling_before is not None:
        let_backend_answer(context, project)
