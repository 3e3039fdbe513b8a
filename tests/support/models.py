"""Small real models for tests that are not about how good captions are."""

from pathlib import Path

from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, Project
from captionloop.model.versions.base import Base
from captionloop.model.versions.store import VersionStore


def tiny_base(directory: Path) -> Base:
    """A BLIP of the published layout with random weights: it writes nonsense, through the real code."""
    from tests.model.captioning.published_layout import (
        write_base,  # imports transformers, which many tests can do without
    )

    write_base(directory)
    return Base(str(directory), GenerationSettings(num_beams=1, min_length=3, max_length=8))


def add_project(database: Database, label_studio_id: int = 1, *, server: str = "local") -> Project:
    with database.session() as session:
        project = Project(
            server=server,
            label_studio_id=label_studio_id,
            webhook_secret=f"secret-{label_studio_id}",
            is_connected=True,
        )
        session.add(project)
        session.flush()
        return project


def store(database: Database, directory: Path) -> VersionStore:
    return VersionStore(database, directory)
