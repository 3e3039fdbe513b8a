"""A project's saved fine-tuning settings, such as the best ones of a sweep."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.errors import NotFoundError, SettingsError
from captionloop.model.database import NamedSettings
from captionloop.model.training.settings import FinetuneSettings

KEY = "settings"
"""The key by which a request or the extra params name saved settings: `{"settings": "sweep-1"}`."""


def save(session: Session, project_id: int, name: str, settings: Mapping[str, Any], *, origin: str) -> None:
    """Save settings under a name, replacing earlier ones of that name.

    Args:
        origin: where they come from, for people.

    Raises:
        SettingsError: they are not valid fine-tuning settings.
    """
    FinetuneSettings.from_dict(settings)
    session.merge(NamedSettings(project_id=project_id, name=name, settings=dict(settings), origin=origin))


def all_of(session: Session, project_id: int) -> list[NamedSettings]:
    """All settings of a project, oldest first."""
    return list(
        session.scalars(
            select(NamedSettings).where(NamedSettings.project_id == project_id).order_by(NamedSettings.created_at)
        )
    )


def read(session: Session, project_id: int, name: object) -> dict[str, Any]:
    """The settings saved under a name.

    Raises:
        SettingsError: the name is not text.
        NotFoundError: the project has no settings of this name.
    """
    if not isinstance(name, str):
        raise SettingsError(f"The {KEY} are named {name!r}; expected a text, such as sweep-1.")
    found = session.get(NamedSettings, (project_id, name))
    if found is None:
        known = ", ".join(row.name for row in all_of(session, project_id))
        raise NotFoundError(
            f"This project knows no settings of the name {name!r}. "
            f"{f'It knows: {known}.' if known else 'A sweep makes some: `captionloop sweep`.'}"
        )
    return dict(found.settings)
