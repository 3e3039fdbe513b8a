"""Changes of a project's settings, with their effects in Label Studio."""

from collections.abc import Iterable, Sequence
from typing import Any

from captionloop.backend.label_studio.controls import Control, boxes_of, take_label_config
from captionloop.backend.label_studio.label_config import parse_label_config
from captionloop.errors import SettingsError
from captionloop.jobs.captioning.asking_order import stop_asking_in_order
from captionloop.jobs.context import Context
from captionloop.model.active_learning.project_settings import ProjectSettings, keep_settings, settings_of
from captionloop.model.database import Project, RunKind

CONTROL = "control"
"""The setting outside `ProjectSettings`: the text box for captions, which must be in the label config."""


def all_settings(project: Project) -> dict[str, Any]:
    """Every setting by name, ready for JSON."""
    return {CONTROL: project.control, **settings_of(project).to_dict()}


def change_settings(context: Context, project: Project, pairs: Iterable[str], *, by: str) -> ProjectSettings:
    """Change some of a project's settings, and apply them.

    Turning the annotation order off takes effect at once; another order is written by a captioning run. Captions of
    another text box are read by a sync.

    Args:
        pairs: `name=value`.
        by: who requests it, for people.

    Raises:
        SettingsError: a setting is unknown or invalid; nothing is changed.
        LabelStudioError: Label Studio does not answer or refuses; the settings are stored, except an unknown `control`.
        ServiceError: Redis does not answer; the settings are stored, and the run starts once it does.
    """
    control, others = _apart(pairs)
    before = settings_of(project)
    after = before.changed(others)
    _check_boxes(project, after.other_boxes)
    if control is not None:
        choose_control(context, project, None if control == "off" else control)
    with context.database.session() as session:
        keep_settings(session, project.id, after)
    if before.order not in {"off", after.order}:
        stop_asking_in_order(context, project)
    if after.order != "off" and not after.asks_like(before):
        context.queue.request(project.id, RunKind.ANNOTATE, asked_by=f"{by}: another order")
    if (after.other_boxes, after.empty_boxes) != (before.other_boxes, before.empty_boxes):
        context.queue.request_sync(project.id)  # earlier annotations have texts in them
        context.queue.request(project.id, RunKind.ANNOTATE, asked_by=f"{by}: other text boxes")
    return after


def _check_boxes(project: Project, names: Sequence[str]) -> None:
    """
    Raises:
        SettingsError: the label config, as far as it is known, has no such box.
    """
    known = boxes_of(project)
    if known and (unknown := [name for name in names if name not in known]):
        raise SettingsError(
            f"Project setting other_boxes has {unknown[0]!r}; the label config's text boxes are {', '.join(known)}."
        )


def choose_control(context: Context, project: Project, name: str | None) -> None:
    """Choose a project's text box for captions; a sync then reads it, and suggestions are renewed.

    Args:
        name: None: chosen by its name. Choosing the present box confirms a rename.

    Raises:
        SettingsError: the label config has no such box.
        LabelConfigError: it has no usable box.
        LabelStudioError: Label Studio does not answer with the present label config.
        ServiceError: Redis does not answer; the choice is stored, and used by the next sync.
    """
    is_known = name is None or name in boxes_of(project)
    found = None if is_known else context.label_studio.project(project.label_studio_id)
    with context.database.session() as session:
        row = session.get_one(Project, project.id)
        if found is not None:
            take_label_config(session, row, found["label_config"])
        before, now = Control.of(row), parse_label_config(row.label_config)
        after = before.chosen(name or now.likeliest.from_name, now)
        after.keep(row)
    if after != before:
        context.queue.request_sync(project.id)


def _apart(pairs: Iterable[str]) -> tuple[str | None, list[str]]:
    """The value of the last `control` pair, if any, and the pairs of the other settings."""
    control, others = None, []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if equals and name.strip() == CONTROL:
            control = value.strip()
        else:
            others.append(pair)
    return control, others
