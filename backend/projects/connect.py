"""Attaching the backend to a Label Studio project; idempotent.

A connection consists of an ML backend of the project, which Label Studio asks for suggestions; a webhook with our
secret in a header, which reports corrections; the project's settings, so that annotators see the suggestions; and our
own row.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import BACKEND_TITLE, IMPORTED_VERSION, LabelStudio
from captionloop.backend.label_studio.controls import Control, take_label_config, target_of
from captionloop.backend.label_studio.editor_style import with_editor_style
from captionloop.backend.label_studio.label_config import CaptionTarget, parse_label_config
from captionloop.backend.projects import webhook_secret
from captionloop.backend.projects.project_rows import find_or_add
from captionloop.backend.projects.project_texts import description_with_link, instructions_with_link
from captionloop.backend.projects.suggestion_column import show_suggestions
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.errors import BusyError, LabelStudioError
from captionloop.model.database import SECRETS_LOCK, Database, Project, Version, wait_for_lock
from captionloop.seal import Seal

_log = logging.getLogger(__name__)

# Without START_TRAINING, which Label Studio sends to the ML backend itself, with its Basic auth.
WEBHOOK_ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
)


@dataclass(frozen=True)
class Connection:
    """An attached project. All ids except the first are Label Studio's."""

    project_row_id: int
    project_id: int
    title: str
    target: CaptionTarget
    other_controls: Sequence[str]  # text boxes that captions could go into as well
    ml_backend_id: int
    webhook_id: int


def connect(
    project_id: int,
    *,
    label_studio: LabelStudio,
    database: Database,
    seal: Seal,
    server: str,
    backend_url: str,
    user: str | None,
    password: str | None,
    control: str | None = None,
    is_sample: bool = False,
    improves: bool = False,
) -> Connection:
    """Attach our backend, which must be running, to a project.

    Args:
        project_id: Label Studio's id.
        seal: encrypts the webhook's secret.
        server: the name of this Label Studio in `project.server`.
        backend_url: where Label Studio reaches the backend.
        user, password: the backend's Basic auth, if it has one.
        control: the text box for captions; None: the stored one, else the likeliest.
        is_sample: True for the project that `captionloop up` creates.
        improves: whether to give the label config our style, and tabs of the task list the suggestions.

    Raises:
        LabelConfigError: the project's label config has no text box for captions, or `control` is required.
        SettingsError: the label config has no text box of the name `control`.
        BusyError: another ML backend is attached to the project.
        LabelStudioError: Label Studio does not answer or refuses; partial changes are undone.
    """
    found = label_studio.project(project_id)
    config = parse_label_config(found["label_config"])
    if improves and (styled := with_editor_style(found["label_config"])) != found["label_config"]:
        found = label_studio.update_project(project_id, label_config=styled)
    # The row comes first, since Label Studio calls the backend, which needs the row, before the connection is complete.
    row = _remember(database, seal, server, found, control=control, is_sample=is_sample)
    target = target_of(row)
    access = _access(backend_url.rstrip("/"), user, password)
    ml_backend_id, is_new = _attach_backend(
        label_studio, project_id, access, before=row.ml_backend_id, is_interactive=config.has_smart_tools
    )
    try:
        secret = webhook_secret.read(row.webhook_secret, seal)
        webhook_id = _attach_webhook(label_studio, project_id, f"{access['url']}/webhook", row, secret)
        label_studio.update_project(
            project_id, **_project_settings(database, found, f"{access['url']}/projects/{project_id}/")
        )
        show_suggestions(label_studio, project_id, in_all_tabs=improves)
    except LabelStudioError:
        if is_new:
            label_studio.delete_ml_backend(ml_backend_id)
        raise
    with database.session() as session:
        stored = session.get_one(Project, row.id)
        stored.ml_backend_id, stored.webhook_id, stored.is_connected = ml_backend_id, webhook_id, True
    _log.info("Attached to project %d (%s) of %s.", project_id, found["title"], label_studio.url)
    return Connection(
        project_row_id=row.id,
        project_id=project_id,
        title=found["title"],
        target=target,
        other_controls=[name for name in config.names if name != target.from_name],
        ml_backend_id=ml_backend_id,
        webhook_id=webhook_id,
    )


def _remember(
    database: Database, seal: Seal, server: str, found: Json, *, control: str | None, is_sample: bool
) -> Project:
    with database.session() as session:
        # During `captionloop key rotate` a secret could be encrypted with a key that is deleted a moment later.
        wait_for_lock(session.connection(), SECRETS_LOCK)
        row = find_or_add(session, server, found["id"])
        row.title = found["title"]
        take_label_config(session, row, found["label_config"])
        if control is not None:
            Control.of(row).chosen(control, parse_label_config(row.label_config)).keep(row)
        row.is_sample = row.is_sample or is_sample
        row.webhook_secret = webhook_secret.kept_or_new(row.webhook_secret, seal)
        return row


def _access(url: str, user: str | None, password: str | None) -> dict[str, Any]:
    """The fields of an ML backend with which Label Studio reaches ours."""
    if user is None or password is None:
        return {"url": url, "auth_method": "NONE"}
    return {"url": url, "auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}


def _attach_backend(
    label_studio: LabelStudio, project_id: int, access: dict[str, Any], *, before: int | None, is_interactive: bool
) -> tuple[int, bool]:
    """The id of the project's one ML backend, and whether it was made just now."""
    attached = label_studio.ml_backends(project_id)
    ours = [backend for backend in attached if _is_ours(backend, access["url"], before)]
    for backend in attached:
        if backend not in ours:
            raise BusyError(
                f"Project {project_id} already has the ML backend {backend['title']!r} at {backend['url']}, and Label "
                "Studio asks only one. Delete it in the project's settings (Model), then connect again."
            )
    # An interactive backend brings a switch "Auto-Annotation", which does nothing for a text box.
    fields = {"title": BACKEND_TITLE, "is_interactive": is_interactive, **access}
    try:
        if ours:
            kept = label_studio.update_ml_backend(ours[0]["id"], project=project_id, **fields)
        else:
            kept = label_studio.create_ml_backend(project_id, **fields)
    except LabelStudioError as error:
        if not ours:
            _undo(label_studio, project_id, access["url"])
        raise _with_remedy(error, access["url"]) from error
    for backend in ours[1:]:
        label_studio.delete_ml_backend(backend["id"])
    return int(kept["id"]), not ours


def _is_ours(backend: Json, url: str, before: int | None) -> bool:
    # The title finds a connection that was made while the backend had another address.
    return backend["id"] == before or backend["title"] == BACKEND_TITLE or backend["url"].rstrip("/") == url


def _undo(label_studio: LabelStudio, project_id: int, url: str) -> None:
    """Delete a backend that was saved although its creation failed.

    Label Studio creates a webhook after saving the backend; if its SSRF protection refuses the webhook's address, the
    request fails, but the backend stays, without events.
    """
    for backend in label_studio.ml_backends(project_id):
        if backend["url"].rstrip("/") == url:
            label_studio.delete_ml_backend(backend["id"])


def _with_remedy(error: LabelStudioError, url: str) -> LabelStudioError:
    if error.status == 403:
        host = urlsplit(url).hostname
        remedy = (
            f"Label Studio may not call {host}, an address of its own network. Start Label Studio with "
            "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, or set CAPTIONLOOP_URL to an address that it "
            "may call; if neither is it, use the token of someone who may change the project."
        )
    elif error.status == 400:
        remedy = (
            f"Label Studio could not use the backend at {url}. Start it (`captionloop serve`) before connecting, and "
            f"set CAPTIONLOOP_URL to an address under which Label Studio's machine reaches it. It said: {error}"
        )
    else:
        return error
    return LabelStudioError(remedy, status=error.status)


def _attach_webhook(label_studio: LabelStudio, project_id: int, url: str, row: Project, secret: str) -> int:
    """Ensure one active webhook with our secret; one without it was created by Label Studio, or by an earlier call."""
    present = [hook for hook in label_studio.webhooks(project_id) if hook["id"] == row.webhook_id or hook["url"] == url]
    fields: dict[str, Any] = {
        "headers": {SECRET_HEADER: secret},
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": False,
        "actions": list(WEBHOOK_ACTIONS),
    }
    try:
        if not present:
            return int(label_studio.create_webhook(project_id, url, **fields)["id"])
        kept = label_studio.update_webhook(present[0]["id"], url, **fields)
    except LabelStudioError as error:
        raise _with_remedy(error, url) from error
    for hook in present[1:]:
        label_studio.delete_webhook(hook["id"])
    return int(kept["id"])


def _project_settings(database: Database, found: Json, address: str) -> dict[str, Any]:
    """The project's settings that put our suggestion into the annotator's draft, and the way to our pages.

    `model_version` selects the displayed predictions: our title stands for the newest ones. A version of ours there is
    left alone, because the annotation order needs it, and so are captions that were there before the project.
    """
    settings: dict[str, Any] = {
        "description": description_with_link(found.get("description"), address),
        "expert_instruction": instructions_with_link(found.get("expert_instruction"), address),
        "show_collab_predictions": True,
        # For regions: it would hide a suggestion until something is drawn over it.
        "reveal_preannotations_interactively": False,
        # Would ask us again for each page of the task list, ours included, and within that very request.
        "evaluate_predictions_automatically": False,
    }
    with database.reading() as session:
        shown = found["model_version"] or ""
        if shown != IMPORTED_VERSION and session.get(Version, shown) is None:
            settings["model_version"] = BACKEND_TITLE
    return settings
