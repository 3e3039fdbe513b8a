"""Captionloop as a `label-studio-ml` 2.x model, for people who run `label-studio-ml start`.

Its `_wsgi.py` needs two lines:

    from captionloop.backend.label_studio_ml_adapter import CaptionloopModel
    app = init_app(model_class=CaptionloopModel)

The settings are the same as elsewhere, and a worker must run beside it. If LABEL_STUDIO_URL or LABEL_STUDIO_API_KEY is
unset, `label-studio-ml`'s own variables are used.
"""

import logging
import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from captionloop.backend.local.services import complete
from captionloop.backend.server.serve import build_service
from captionloop.backend.serving.caption_service import CaptionService, project_number
from captionloop.jobs.context import Context
from captionloop.model.database import RunKind
from captionloop.settings import Secret, Settings

_log = logging.getLogger(__name__)

# What `LabelStudioMLBase` looks for, too (`_get_label_studio_client`, `get_label_studio_access_token`).
_ADDRESS, _TOKEN = "LABEL_STUDIO_HOST", "LABEL_STUDIO_ACCESS_TOKEN"


@lru_cache(maxsize=1)
def _service() -> CaptionService:
    """One for the process: `label-studio-ml` makes a new model object for every request."""
    context = Context.open(complete(_settings()))
    context.database.migrate()
    return build_service(context)


def _settings() -> Settings:
    """Ours, and for the Label Studio that they leave open, those of `label-studio-ml`.

    Raises:
        SettingsError: one of ours is wrong.
    """
    settings = Settings.read()
    address, token = os.environ.get(_ADDRESS, "").rstrip("/"), os.environ.get(_TOKEN, "")
    if settings.label_studio_url is None and address:
        if address.startswith(("http://", "https://")):
            settings = replace(settings, label_studio_url=address)
        else:
            _log.warning(
                "%s is %r, which is no address such as http://localhost:8080, and is ignored", _ADDRESS, address
            )
    if settings.label_studio_api_key is None and token:
        settings = replace(settings, label_studio_api_key=Secret(token))
    return settings


class CaptionloopModel(LabelStudioMLBase):  # type: ignore[misc]  # the package carries no types
    """Suggests the champion's captions, and starts runs."""

    def setup(self) -> None:
        """Name the version that serves the project, which Label Studio compares with its stored predictions."""
        self.set("model_version", _service().setup(project_number(self.project_id), self.label_config))

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
    ) -> list[dict[str, Any]]:
        """One prediction per task, in order; see `CaptionService.predict`."""
        return _service().predict(project_number(self.project_id), self.label_config, tasks)

    def fit(self, event: str, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Ask for a run on START_TRAINING, and for a sync on anything else; both happen in the worker."""
        service = _service()
        project = service.projects.seen(project_number(self.project_id))
        if event != "START_TRAINING":
            return {"sync": service.queue.request_sync(project.id)}
        return {"job": service.queue.request(project.id, RunKind.FINETUNE, asked_by="label-studio-ml").run.id}
