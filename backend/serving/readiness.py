"""Whether the backend can serve captions now, and if not, why."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.champions import Champions
from captionloop.errors import ServiceError
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.model.database import Database

# Anybody may ask, so that a check serves all who ask meanwhile.
_KEPT_S = 2.0


@dataclass(frozen=True)
class Found:
    """
    Args:
        missing: the unavailable parts, each with the reason.
    """

    missing: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        return not self.missing


class Readiness:
    """Checks the database, Redis, and the champion of each connected project."""

    def __init__(self, *, database: Database, queue: Queue, projects: Projects, champions: Champions) -> None:
        self._database = database
        self._queue = queue
        self._projects = projects
        self._champions = champions
        self._lock = threading.Lock()
        self._last, self._looked_at = Found({"check": "The first one is not over yet."}), float("-inf")

    def recent(self) -> Found:
        """A check of the last seconds, or the one before while another is under way."""
        if time.monotonic() > self._looked_at + _KEPT_S and self._lock.acquire(blocking=False):
            try:
                self._last, self._looked_at = self.check(), time.monotonic()
            finally:
                self._lock.release()
        return self._last

    def check(self) -> Found:
        """Takes a few seconds at most, even if a part hangs."""
        missing: dict[str, str] = {}
        try:
            self._database.check()
            if unserved := self._unserved():
                missing["champion"] = unserved
        except ServiceError as error:
            missing["database"] = str(error)
        try:
            self._queue.check()
        except ServiceError as error:
            missing["redis"] = str(error)
        return Found(missing)

    def _unserved(self) -> str | None:
        if not self._champions.are_warm:
            return "The models of the connected projects are being loaded."
        for project in self._projects.connected():
            if (reason := self._champions.why_unserved(project.id)) is not None:
                return f"Project {project.label_studio_id} is not served: {reason}"
        return None
