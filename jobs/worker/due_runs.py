"""Automatic runs by a project's settings, checked periodically by each worker."""

import logging

from sqlalchemy import select

from captionloop.errors import CaptionloopError
from captionloop.jobs.context import Context
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.active_learning.when_to_train import reason_to_train
from captionloop.model.database import Project, RunKind, database_time

_log = logging.getLogger(__name__)


def start_due_runs(context: Context) -> None:
    """Request a fine-tuning run in each connected project that is due for one and has none active or waiting.

    Safe with several workers: the database allows one request. Errors of a project are logged.
    """
    with context.database.reading() as session:
        connected = select(Project).where(Project.server == context.settings.server_name, Project.is_connected)
        projects = session.scalars(connected).all()
    for project in projects:
        try:
            _start_if_due(context, project)
        except CaptionloopError as error:
            _log.error("project %d: %s", project.label_studio_id, error)


def _start_if_due(context: Context, project: Project) -> None:
    settings = settings_of(project)
    if not settings.trains_by_itself:
        return
    with context.database.reading() as session:
        now = database_time(session).astimezone()
        reason = reason_to_train(session, project, settings, now=now)
    if reason is None:
        return
    run = context.queue.request_if_idle(project.id, RunKind.FINETUNE, asked_by=f"itself: {reason}")
    if run is not None:
        _log.info("project %d: run %s begins by itself: %s", project.label_studio_id, run.id, reason)
