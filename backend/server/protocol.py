"""Label Studio's ML-backend protocol (docs/label-studio.md has the calls and their time limits).

Nothing here waits for a model to load or a run to end, except `/predict`, which returns captions.
"""

import logging
from contextlib import nullcontext
from typing import Any, cast

from flask import Blueprint, Response, current_app, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, Gone, UnsupportedMediaType

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.backend.server.places import Places
from captionloop.backend.serving.caption_service import CaptionService, project_number
from captionloop.errors import LostKeyError
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.database import LARGEST_ID, Project, Run, RunKind, RunState
from captionloop.package_version import __version__

protocol = Blueprint("protocol", __name__)
_log = logging.getLogger(__name__)

_REFUSED_EVENT = "The webhook's secret header is missing or wrong. `captionloop connect` sets it."
_MISSING = {"only_missing": True}  # see `AnnotateSettings`
# Label Studio's names for the states of a training job (those of RQ).
_JOB_STATUS = {
    RunState.WAITING: "queued",
    RunState.QUEUED: "queued",
    RunState.RUNNING: "started",
    RunState.FINISHED: "finished",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "canceled",
}


def _service() -> CaptionService:
    return cast(CaptionService, current_app.extensions["captionloop"])


def _places() -> Places:
    return cast(Places, current_app.extensions["captionloop_places"])


def _gatekeeper() -> Gatekeeper:
    return cast(Gatekeeper, current_app.extensions["captionloop_gatekeeper"])


@protocol.before_request
def _refuse_other_sites() -> None:
    """Refuse cross-site requests: a browser with a saved password sends it along with any site's form.

    Browsers omit `Sec-Fetch-Site` over plain http, and older ones always do.
    """
    is_from_elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    origin = request.headers.get("Origin")
    if is_from_elsewhere or (origin is not None and not _is_own(origin)):
        raise Forbidden("This address is for Label Studio, and not for other sites in a browser.")


def _is_own(origin: str) -> bool:
    """Compare host and port only, since a proxy may terminate https."""
    return origin.partition("://")[2] == request.host


@protocol.get("/health")
def health() -> Response:
    """Liveness. Without authentication, for monitors and container engines; reveals nothing else."""
    return jsonify(status="UP", model_class="Captionloop", version=__version__)


@protocol.post("/setup")
def setup() -> Response:
    _gatekeeper().require(request)
    body = _body()
    version = _service().setup(project_number(body.get("project")), _text(body, "schema"))
    return jsonify(model_version=version)


@protocol.post("/predict")
def predict() -> Response:
    _gatekeeper().require(request)
    body = _body()
    tasks = _tasks(body)
    project, label_config = project_number(body.get("project")), _text(body, "label_config")
    # Without tasks, as `captionloop doctor` asks, nothing is read.
    with _places().of(project) if tasks else nullcontext():
        results = _service().predict(project, label_config, tasks)
    return jsonify(results=results)


@protocol.get("/versions")
def versions() -> Response:
    """The versions of the project in the body; Label Studio sends a body with this GET."""
    _gatekeeper().require(request)
    project = _service().projects.seen(project_number(_body().get("project")))
    return jsonify(versions=[info.version for info in reversed(_service().versions.all_of(project.id))])


@protocol.post("/job_status")
def job_status() -> Response:
    _gatekeeper().require(request)
    run = _service().queue.runs.get(_text(_body(), "job"))
    if run is None:
        raise Gone("There is no such run; it may be of another database.")  # 410: Label Studio shows "removed"
    return jsonify(_job(run))


@protocol.post("/webhook")
def webhook() -> tuple[Response, int]:
    """An event only triggers a sync or a run, so only its action and project are used."""
    is_admitted = _gatekeeper().admits(request)
    if not is_admitted and SECRET_HEADER not in request.headers:  # said before the body is read
        raise Forbidden(_REFUSED_EVENT)
    body = _body()
    number = project_number(_project_id(body))
    known = _service().projects.find(number)
    if not is_admitted and not (known and _carries_secret_of(known)):
        raise Forbidden(_REFUSED_EVENT)
    project = known or _service().projects.seen(number)
    if body.get("action") == "START_TRAINING":
        return _start_training(project.id)
    if body.get("action") == "TASKS_CREATED" and settings_of(project).order != "off":
        # The annotation order includes only tasks that have a suggestion.
        _service().queue.request(project.id, RunKind.ANNOTATE, asked_by="new tasks", settings=_MISSING)
    _service().queue.request_sync(project.id)
    return jsonify(status="ok"), 200


def _carries_secret_of(project: Project) -> bool:
    try:
        return _gatekeeper().admits_event(request, project.webhook_secret)
    except LostKeyError as error:
        _log.error("an event of project %s is refused: %s", project.label_studio_id, error)
        return False


def _start_training(project_id: int) -> tuple[Response, int]:
    requested = _service().queue.request(project_id, RunKind.FINETUNE, asked_by="Label Studio")
    message = (
        "The run is queued."
        if requested.is_new
        else "A run that has not begun yet will take all corrections up to its start, so no further one was added."
    )
    return jsonify(status="ok", job=requested.run.id, message=message), 201


def _job(run: Run) -> dict[str, Any]:
    def moment(value: Any) -> str | None:
        return value.isoformat() if value else None

    return {
        "job_status": _JOB_STATUS[run.state],
        "error": run.message if run.state is RunState.FAILED else None,
        "created_at": moment(run.created_at),
        "enqueued_at": moment(run.created_at),
        "started_at": moment(run.started_at),
        "ended_at": moment(run.finished_at),
        "progress": run.progress,
        "detail": run.detail,
        "message": run.message,
    }


def _body() -> dict[str, Any]:
    """The JSON body. Another site's form cannot send that content type."""
    if request.method != "GET" and not request.is_json:
        raise UnsupportedMediaType("The body is sent with the header `Content-Type: application/json`.")
    body = request.get_json(silent=True, force=True)
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise BadRequest(f"The field `{field}` must be a text, but is {type(value).__name__}.")
    return value


def _tasks(body: dict[str, Any]) -> list[dict[str, Any]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, list):
        raise BadRequest("The field `tasks` must be a list.")
    for position, task in enumerate(tasks):
        if not isinstance(task, dict) or not _is_id(task.get("id")) or not isinstance(task.get("data"), dict):
            raise BadRequest(
                f"`tasks[{position}]` must be an object with a whole number `id`, of at most {LARGEST_ID}, and an "
                "object `data`."
            )
    return tasks


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID


def _project_id(body: dict[str, Any]) -> object:
    project = body.get("project")
    return project.get("id") if isinstance(project, dict) else project
