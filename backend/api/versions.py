"""Versions as JSON: listing, promotion, rollback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.versions import HeldOutFigures, VersionRow, read_versions
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.blueprint import current_room


@dataclass(frozen=True)
class VersionFacts:
    """A version of the model.

    Args:
        version: its name.
        parent: the version it was fine-tuned from; null for a base.
        state: champion, candidate, rejected or retired.
        reason: why it was promoted or rejected.
        corrections: how many it was trained on.
        snapshot: hash of the dataset it was trained on.
        pinned: whether it is protected from deletion.
        deleted_at: when its files were deleted.
        size_bytes: of its files.
        figures: metrics on the held-out images of its run.
        damage: what is wrong with its files, and the remedy; null if nothing is known.
    """

    version: str
    parent: str | None
    state: str
    reason: str
    created_at: datetime
    corrections: int
    snapshot: str | None
    pinned: bool
    deleted_at: datetime | None
    size_bytes: int | None
    figures: HeldOutFigures | None
    damage: str | None

    @classmethod
    def of(cls, row: VersionRow) -> VersionFacts:
        """From a row of the page's table."""
        info = row.info
        return cls(
            version=info.version,
            parent=info.parent,
            state=info.state,
            reason=info.reason,
            created_at=info.created_at,
            corrections=info.corrections,
            snapshot=info.snapshot,
            pinned=info.pinned,
            deleted_at=info.deleted_at,
            size_bytes=row.size_bytes,
            figures=row.figures,
            damage=row.damage,
        )


@dataclass(frozen=True)
class Champion:
    """The version that serves.

    Args:
        version: its name.
    """

    version: str


@api.get("/projects/<int:number>/versions")
def list_versions(number: int) -> Sequence[VersionFacts]:
    """All versions, the newest first, deleted ones included."""
    room = current_room()
    return [VersionFacts.of(row) for row in read_versions(room, room.project(number)).versions]


@api.post("/projects/<int:number>/versions/<version>/promote")
def post_promote(number: int, version: str) -> Champion:
    """Make a version champion; suggestions of unlabelled tasks are renewed."""
    room = current_room()
    room.promote(room.project(number), version, by=visitor().name)
    return Champion(version)


@api.post("/projects/<int:number>/rollback")
def post_rollback(number: int) -> Champion:
    """Make the previous champion champion again; suggestions of unlabelled tasks are renewed."""
    room = current_room()
    return Champion(room.rollback(room.project(number)))
