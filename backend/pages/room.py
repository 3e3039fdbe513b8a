"""What the pages work with: one object on top of the parts, so that a view never puts parts together itself."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

from flask import current_app
from sqlalchemy.orm import Session

from captionloop.backend.projects import Projects
from captionloop.backend.service import CaptionService
from captionloop.errors import NotFoundError
from captionloop.home import Home
from captionloop.jobs import promotion
from captionloop.jobs.context import Context
from captionloop.jobs.runs import Runs
from captionloop.model.database import Database, Project
from captionloop.model.dataset_watch import DatasetWatch, Looked
from captionloop.model.text import is_representable
from captionloop.model.versions import VersionInfo, VersionStore
from captionloop.settings import Settings


@dataclass(frozen=True)
class Room:
    """The parts behind the pages. `context` and `service` belong to whoever made them."""

    context: Context
    service: CaptionService

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def home(self) -> Home:
        return self.context.home

    @property
    def database(self) -> Database:
        return self.context.database

    @property
    def versions(self) -> VersionStore:
        return self.context.versions

    @property
    def runs(self) -> Runs:
        return self.context.queue.runs

    @property
    def projects(self) -> Projects:
        return self.service.projects

    def project(self, number: int) -> Project:
        """A connected project by its number in Label Studio.

        Raises:
            NotFoundError: it is not connected.
        """
        return self.projects.choose(number)

    def champion(self, project: Project) -> VersionInfo:
        """The version that serves a project; one that has none yet gets its base.

        Raises:
            CheckpointError: there is no BLIP at the base's source.
        """
        try:
            return self.versions.champion(project.id)
        except NotFoundError:
            self.versions.ensure_champion(project.id, self.context.base)
            return self.versions.champion(project.id)

    def look_at_dataset(self, session: Session, project: Project) -> Looked:
        """The problems of a project's dataset and its split.

        Raises:
            CheckpointError: the champion's tokenizer cannot be read.
        """
        champion = self.champion(project)
        can_be_written = partial(is_representable, self.context.tokenizer(champion))
        return self._dataset_watch.look(session, project.id, vocabulary=champion.version, can_be_written=can_be_written)

    @cached_property
    def _dataset_watch(self) -> DatasetWatch:
        return DatasetWatch(self.home)

    def promote(self, project: Project, version: str, *, by: str) -> None:
        """Make a version champion and tell everybody.

        Raises:
            NotFoundError: the project has no such version.
        """
        promotion.promote(self.context, project, version, reason=f"promoted by {by}")

    def rollback(self, project: Project) -> str:
        """Go back to the champion before this one; gives its name.

        Raises:
            NotFoundError: there was none before.
        """
        return promotion.rollback(self.context, project)

    def label_studio_project(self, project: Project) -> str:
        """Where people annotate: the project's task list in Label Studio."""
        return f"{self.settings.label_studio_url}/projects/{project.label_studio_id}/data"

    def label_studio_task(self, project: Project, task_id: int) -> str:
        """The very task in Label Studio."""
        return f"{self.label_studio_project(project)}?task={task_id}"


def current_room() -> Room:
    """The room of the app that answers the present request."""
    return cast(Room, current_app.extensions["captionloop_room"])
