"""Changing a project's settings, with what follows from it in Label Studio."""

from collections.abc import Iterable

from captionloop.jobs.captioning.asking_order import stop_asking_in_order
from captionloop.jobs.context import Context
from captionloop.model.active_learning.project_settings import ProjectSettings, keep_settings, settings_of
from captionloop.model.database import Project, RunKind


def change_settings(context: Context, project: Project, pairs: Iterable[str], *, by: str) -> ProjectSettings:
    """Change some of a project's settings; what they say of the order is then carried out.

    An order that is no longer wanted is taken back at once. Another one is written by a captioning run.

    Args:
        pairs: `name=value`.
        by: who asks, for a person.

    Raises:
        SettingsError: a setting is unknown or wrong; nothing is changed.
        LabelStudioError: Label Studio does not answer or refuses; the settings are kept.
        ServiceError: Redis does not answer; the settings are kept, and the run begins once it does.
    """
    before = settings_of(project)
    after = before.changed(pairs)
    with context.database.session() as session:
        keep_settings(session, project.id, after)
    if before.order not in {"off", after.order}:
        stop_asking_in_order(context, project)
    if after.order != "off" and not after.asks_like(before):
        context.queue.request(project.id, RunKind.ANNOTATE, asked_by=f"{by}: another order")
    return after
