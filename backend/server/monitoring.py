"""`/ready`, and `/metrics` for Prometheus. (`/health` is part of the protocol.)

`/ready` tells anybody whether by its status alone, since container engines and load balancers have no account. Why not,
and the metrics, need one; the reader's suffices.
"""

from typing import TYPE_CHECKING, cast

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from werkzeug.exceptions import BadRequest

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.serving.prometheus import BackendCollector, InstallationCollector
from captionloop.backend.serving.readiness import Readiness

if TYPE_CHECKING:
    from captionloop.backend.page_data.room import Room

watching = Blueprint("watching", __name__)

_READINESS, _REGISTRIES = "captionloop_readiness", "captionloop_registries"


def add_watching(app: Flask, room: "Room") -> None:
    """Put both into an app that has the parts which they tell of."""
    service, context = room.service, room.context
    app.extensions[_READINESS] = Readiness(
        database=context.database, queue=context.queue, projects=service.projects, champions=service.champions
    )
    service.metrics.registry.register(
        BackendCollector(
            projects=service.projects,
            database=context.database,
            queue=context.queue,
            champions=service.champions,
            features=context.features,
            port=context.settings.port,
        )
    )
    installation = CollectorRegistry()
    installation.register(
        InstallationCollector(projects=service.projects, database=context.database, queue=context.queue)
    )
    app.extensions[_REGISTRIES] = {"process": service.metrics.registry, "installation": installation}
    app.register_blueprint(watching)


def _require_account() -> None:
    cast(Gatekeeper, current_app.extensions["captionloop_gatekeeper"]).require_account(request)


@watching.get("/ready")
def ready() -> tuple[Response, int]:
    """200 if captions can be served now; else 503, with what is missing for who has an account."""
    readiness = cast(Readiness, current_app.extensions[_READINESS])
    if request.authorization is None:
        return Response(), 200 if readiness.recent().is_ready else 503
    _require_account()
    found = readiness.check()
    return jsonify(ready=found.is_ready, missing=found.missing), 200 if found.is_ready else 503


@watching.get("/metrics")
def metrics() -> Response:
    """All metrics, for Prometheus; `?of=process`: those of this process alone, `?of=installation`: the others."""
    _require_account()
    registries = cast(dict[str, CollectorRegistry], current_app.extensions[_REGISTRIES])
    wanted = request.args.get("of")
    if wanted is not None and wanted not in registries:
        raise BadRequest(f"`of` is {wanted!r:.60}, but must be one of {', '.join(registries)}.")
    chosen = registries.values() if wanted is None else [registries[wanted]]
    return Response(b"".join(map(generate_latest, chosen)), content_type=CONTENT_TYPE_LATEST)
