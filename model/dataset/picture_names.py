"""The names of pictures where they came from: a path below that directory, with slashes.

An export gives the pictures these names again. They come from others, so whoever makes files of them makes them safe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from captionloop.batches import batches
from captionloop.model.database import PictureName, add_unless_there

_MOST_BYTES = 2000  # PostgreSQL's indexes take no more than 2,704 in a row
_AT_ONCE = 500  # SQLite takes 999 variables, or many more since 3.32


def remember(session: Session, project_id: int, names: Iterable[tuple[str, str]]) -> None:
    """Store (image, name) pairs. A name that is too long is left out, and its image exported under its hash."""
    for image, name in sorted(set(names)):
        if len(name.encode("utf-8", "replace")) <= _MOST_BYTES:
            add_unless_there(session, PictureName, project_id=project_id, image_sha256=image, name=name)


def remember_if_unnamed(session: Session, project_id: int, names: Mapping[str, str]) -> None:
    """Store a name by image, for images that have none in the project: an address says less than a directory."""
    known = names_of(session, project_id, names)
    remember(session, project_id, ((image, name) for image, name in names.items() if image not in known))


def remember_tasks(session: Session, project_id: int, pictures: Iterable[tuple[str, str, int]]) -> None:
    """Store (image, name, task) of files that tasks were made of."""
    pictures = list(pictures)
    remember(session, project_id, ((image, name) for image, name, _ in pictures))
    for image, name, task in pictures:
        session.execute(
            update(PictureName)
            .where(PictureName.project_id == project_id, PictureName.image_sha256 == image, PictureName.name == name)
            .values(task_id=task)
        )


def names_with_tasks(session: Session, project_id: int) -> Iterator[str]:
    """The names of the files that tasks were ever made of."""
    chosen = select(PictureName.name).where(PictureName.project_id == project_id, PictureName.task_id.is_not(None))
    yield from session.scalars(chosen.execution_options(yield_per=_AT_ONCE))


def names_of(session: Session, project_id: int, images: Collection[str]) -> dict[str, list[str]]:
    """The sorted names of those images that have any."""
    found: dict[str, list[str]] = {}
    for some in batches(images, _AT_ONCE):
        rows = session.execute(
            select(PictureName.image_sha256, PictureName.name)
            .where(PictureName.project_id == project_id, PictureName.image_sha256.in_(some))
            .order_by(PictureName.name)
        )
        for image, name in rows:
            found.setdefault(image, []).append(name)
    return found
