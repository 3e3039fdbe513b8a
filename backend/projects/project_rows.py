"""Rows of projects, created when first seen."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.backend.label_studio.controls import take_label_config
from captionloop.errors import NotFoundError
from captionloop.model.database import Database, Project, add_unless_there


class Projects:
    """The projects of one Label Studio server."""

    def __init__(self, database: Database, *, server: str) -> None:
        """
        Args:
            server: the server's name (`Settings.server_name`).
        """
        self._database = database
        self.server = server

    def seen(self, label_studio_id: int, *, label_config: str | None = None) -> Project:
        """The project's row, created if missing, with the given label config."""
        known = self.find(label_studio_id)
        if known is not None and (label_config is None or (known.label_config == label_config and known.control)):
            return known
        with self._database.session() as session:
            known = find_or_add(session, self.server, label_studio_id)
            if label_config is not None:
                take_label_config(session, known, label_config)
        return known

    def find(self, label_studio_id: int) -> Project | None:
        with self._database.reading() as session:
            return _find(session, self.server, label_studio_id)

    def connected(self) -> list[Project]:
        """The connected projects."""
        with self._database.reading() as session:
            query = select(Project).where(Project.server == self.server, Project.is_connected)
            return list(session.scalars(query.order_by(Project.id)))

    def choose(self, label_studio_id: int | None) -> Project:
        """The project of a command: the named one, else the only connected one, else the sample one.

        Raises:
            NotFoundError: no such project is connected, or the choice is ambiguous.
        """
        projects = self.connected()
        if label_studio_id is not None:
            projects = [project for project in projects if project.label_studio_id == label_studio_id]
            if not projects:
                raise NotFoundError(
                    f"Project {label_studio_id} is not connected. "
                    f"Run `captionloop connect --project {label_studio_id}`."
                )
        if len(projects) > 1:
            projects = [project for project in projects if project.is_sample] or projects
        if not projects:
            raise NotFoundError("No project is connected yet. Run `captionloop connect --project ID`.")
        if len(projects) > 1:
            ids = ", ".join(str(project.label_studio_id) for project in projects)
            raise NotFoundError(f"Several projects are connected ({ids}). Say which one with --project ID.")
        return projects[0]


def find_or_add(session: Session, server: str, label_studio_id: int) -> Project:
    """The row of a project, inserted if missing."""
    project = _find(session, server, label_studio_id)
    if project is None:
        add_unless_there(session, Project, server=server, label_studio_id=label_studio_id)
        project = _find(session, server, label_studio_id)
    assert project is not None
    return project


def _find(session: Session, server: str, label_studio_id: int) -> Project | None:
    query = select(Project).where(Project.server == server, Project.label_studio_id == label_studio_id)
    return session.scalars(query).one_or_none()
