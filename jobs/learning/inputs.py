"""Common inputs of runs and sweep trials: snapshot, the champion's snapshot, settings."""

from collections.abc import Callable, Mapping
from typing import Any

from captionloop.errors import RunError, SettingsError
from captionloop.jobs.context import Context
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Project
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.training import named_settings
from captionloop.model.versions.store import VersionInfo


def take_snapshot(context: Context, project: Project, on_progress: Callable[[int, int], None]) -> Snapshot:
    """Sync with Label Studio and take a snapshot.

    Args:
        on_progress: called with annotations read and annotations to read.

    Raises:
        LabelStudioError: Label Studio does not answer.
        RunError: there are no corrections to train on.
    """
    sync(context, project.id, on_progress=on_progress)
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project.id, context.home)
    if len({example.image for example in snapshot.examples}) < 2:
        raise RunError(
            f"There are {len(snapshot.examples)} corrections to learn from, and at least two images are needed: "
            "one to learn from, one to see whether it helped. Submit some annotations in Label Studio first."
        )
    return snapshot


def chosen_settings(context: Context, project: Project, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a request, over the saved settings that it or the extra params name, over the extra params.

    The extra params are those of the model in Label Studio. Not validated yet; unset settings are absent.

    Raises:
        NotFoundError: there are no settings of that name.
        SettingsError: the extra params are not an object.
        LabelStudioError: Label Studio does not answer.
    """
    extra = _extra_params(context, project)
    name = asked.get(named_settings.KEY, extra.get(named_settings.KEY))
    named: dict[str, Any] = {}
    if name is not None:
        with context.database.reading() as session:
            named = named_settings.read(session, project.id, name)
    merged = {**extra, **named, **asked}
    merged.pop(named_settings.KEY, None)
    return merged


def _extra_params(context: Context, project: Project) -> dict[str, Any]:
    connected = context.label_studio.ml_backends(project.label_studio_id)
    ours = next((found for found in connected if found["id"] == project.ml_backend_id), None)
    extra = (ours or {}).get("extra_params") or {}
    if not isinstance(extra, dict):
        raise SettingsError(
            f"The extra params of the model in Label Studio are {extra!r}; expected an object, such as "
            '{"way": "lora"}.'
        )
    return extra


def learnt_by(context: Context, champion: VersionInfo) -> Snapshot | None:
    """The snapshot that a version was trained on; None for a base.

    Raises:
        CaptionloopError: it is gone or damaged.
    """
    return (
        corrections.read_snapshot(context.home.datasets / f"{champion.snapshot}.jsonl") if champion.snapshot else None
    )
