"""The version store: immutable model directories, and each project's champion.

A directory is complete before it is visible: it is written under a temporary name, gets a manifest with the SHA-256 of
each file, is renamed, and only then entered in the database. After a crash there is a complete version or none.

Deletion is the reverse: the row is marked first, then the files are removed, so that no unmarked row ever refers to
partly deleted files. Leftovers of a crash are removed later. The row stays, since other versions descend from it.
"""

import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from captionloop.errors import BusyError, NotFoundError
from captionloop.home import storing, unfinished_directory
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import (
    BASE_LOCK,
    Database,
    Project,
    Promotion,
    Version,
    VersionState,
    utc_now,
    wait_for_lock,
)
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import (
    Lineage,
    flush_to_disk,
    read_manifest,
    verify_files,
    write_manifest,
)
from captionloop.model.versions.model_card import write_model_card
from captionloop.model.versions.writing import nobody_writing, writing

_log = logging.getLogger(__name__)

_UNFINISHED, _REMOVED = ".unfinished-", ".removed-"
# Without locks, what is unchanged for this long was left by a crash: copying a version takes less.
_ABANDONED_AFTER_S = 3600


@dataclass(frozen=True)
class VersionInfo:
    """A version from the viewpoint of a project."""

    version: str
    parent: str | None
    state: str  # champion, candidate, rejected or retired
    created_at: datetime
    corrections: int
    metrics: Mapping[str, Any]
    path: Path
    reason: str
    generation: GenerationSettings
    snapshot: str | None  # hash of the dataset it was trained on; None for a base
    pinned: bool
    deleted_at: datetime | None  # its files are gone

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "version": self.version,
            "parent": self.parent,
            "state": self.state,
            "created_at": self.created_at.isoformat(),
            "corrections": self.corrections,
            "metrics": dict(self.metrics),
            "path": str(self.path),
            "reason": self.reason,
            "generation": self.generation.to_dict(),
            "snapshot": self.snapshot,
            "pinned": self.pinned,
            "deleted_at": self.deleted_at.isoformat() if self.deleted_at else None,
        }


class VersionStore:
    """The versions of all projects: their directories below `directory`, their rows in `database`."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory

    # The base ------------------------------------------------------------------------------------------------------

    def add_base(self, base: Base) -> None:
        """Copy a base into the store, unless it exists; a lost directory is recreated.

        Raises:
            CheckpointError: there is no BLIP at its source.
            StorageError: the disk is full or read-only.
        """
        with self._database.reading() as session:
            if session.get(Version, base.name) is not None and (self._directory / base.name).is_dir():
                return
        from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint

        with self._new_directory() as directory:
            save_checkpoint(load_checkpoint(base.source), directory)
            with self._database.session() as session:
                wait_for_lock(session.connection(), BASE_LOCK)
                is_known = session.get(Version, base.name) is not None
                if not is_known or not (self._directory / base.name).is_dir():  # else another process added it
                    facts = {"source": base.source, "generation": base.generation.to_dict()}
                    self._keep(directory, base.name, facts)
                if not is_known:
                    session.add(Version(name=base.name, generation=base.generation.to_dict()))

    # New versions --------------------------------------------------------------------------------------------------

    def create(
        self,
        project_id: int,
        write: Callable[[Path], None],
        *,
        lineage: Lineage,
        generation: GenerationSettings,
        also: Callable[[Session, str], None] = lambda session, name: None,
    ) -> str:
        """Add a version: `write` saves the model files to the given directory; a model card is added.

        Args:
            also: called in the transaction that enters the version, with its name: what it writes holds only with the
                version, and if it raises there is no version.

        Returns:
            The new version's name.

        Raises:
            StorageError: the disk is full or read-only. Nothing of the version is kept.
        """
        with self._new_directory() as directory:
            write(directory)
            with self._database.session() as session:
                name = _next_name(session, project_id)
                base = self._origin(session, lineage.parent)
                write_model_card(directory, name=name, lineage=lineage, generation=generation, base=base)
                facts = {
                    "parent": lineage.parent,
                    "snapshot": lineage.snapshot,
                    "corrections": lineage.corrections,
                    "new_tokens": lineage.new_tokens,
                    "settings": dict(lineage.settings),
                    "metrics": dict(lineage.metrics),
                    "reason": lineage.reason,
                    "generation": generation.to_dict(),
                }
                session.add(
                    Version(
                        name=name,
                        project_id=project_id,
                        parent=lineage.parent,
                        corrections=lineage.corrections,
                        metrics=dict(lineage.metrics),
                        reason=lineage.reason,
                        state=lineage.state,
                        generation=generation.to_dict(),
                        snapshot=lineage.snapshot,
                    )
                )
                session.flush()
                also(session, name)
                self._keep(directory, name, facts)
        return name

    def _keep(self, directory: Path, name: str, facts: Mapping[str, Any]) -> None:
        write_manifest(directory, name, facts)
        final = self._directory / name
        if final.is_dir():  # left by a crash after the rename and before the row
            shutil.rmtree(final)
        directory.rename(final)
        flush_to_disk(self._directory)

    @contextmanager
    def _new_directory(self) -> Iterator[Path]:
        """A directory to fill, under a temporary name; no sweep takes it away, nor what it is renamed to."""
        with (
            storing(self._directory),
            writing(self._directory),
            unfinished_directory(self._directory, prefix=_UNFINISHED) as directory,
        ):
            yield directory

    def remove_leftovers(self) -> list[Path]:
        """Remove leftovers of crashes: unfinished directories, and complete ones whose row is missing or deleted.

        Nothing is removed while another process, on whichever host, writes a version. Where the file system has no
        locks to tell, what was changed within the last hour is spared.
        """
        if not self._directory.is_dir():
            return []
        with nobody_writing(self._directory) as is_quiet:
            leftovers = [] if is_quiet is False else self._leftovers(spared_s=0 if is_quiet else _ABANDONED_AFTER_S)
            # Renamed only, so that writers need not wait for the removal.
            removed = [path.rename(path.with_name(f"{_REMOVED}{secrets.token_hex(8)}")) for path in leftovers]
        for path, now in zip(leftovers, removed, strict=True):
            _log.warning("removing %s, which a crash left", path.name)
            shutil.rmtree(now, ignore_errors=True)  # the next sweep retries what cannot be removed
        return leftovers

    def _leftovers(self, *, spared_s: float) -> list[Path]:
        with self._database.reading() as session:
            known = set(session.scalars(select(Version.name).where(Version.deleted_at.is_(None))))
        changed_before = time.time() - spared_s
        return [
            path
            for path in self._directory.iterdir()
            if path.is_dir() and path.name not in known and path.stat().st_mtime <= changed_before
        ]

    # Reading -------------------------------------------------------------------------------------------------------

    def champion(self, project_id: int) -> VersionInfo:
        """The version that serves a project.

        Raises:
            NotFoundError: the project does not exist, or has no champion yet.
        """
        with self._database.reading() as session:
            project = _project(session, project_id)
            if project.champion is None:
                raise NotFoundError(f"Project {project.label_studio_id} has no champion yet.")
            return self._info(session.get_one(Version, project.champion), project, set())

    def all_of(self, project_id: int, *, with_deleted: bool = False) -> list[VersionInfo]:
        """The versions that a project can serve, oldest first: the bases it started from and its own.

        Args:
            with_deleted: also those whose files are gone.
        """
        with self._database.reading() as session:
            project = _project(session, project_id)
            served = set(session.scalars(select(Promotion.version).where(Promotion.project_id == project_id)))
            mine = or_(Version.project_id == project_id, Version.name.in_(served))
            rows = session.scalars(select(Version).where(mine).order_by(Version.created_at, Version.name))
            return [self._info(row, project, served) for row in rows if with_deleted or row.deleted_at is None]

    def get(self, project_id: int, name: str, *, with_deleted: bool = False) -> VersionInfo:
        """One of `all_of`, by name.

        Raises:
            NotFoundError: the project has no such version, or it was deleted and `with_deleted` is not given.
        """
        versions = {info.version: info for info in self.all_of(project_id, with_deleted=True)}
        if name not in versions:
            there = [info.version for info in versions.values() if info.deleted_at is None]
            raise NotFoundError(
                f"There is no version {name!r} in this project. It has: {', '.join(there) or 'none yet'}."
            )
        found = versions[name]
        if found.deleted_at is not None and not with_deleted:
            raise _deleted(name, found.deleted_at)
        return found

    # Changing the champion -----------------------------------------------------------------------------------------

    def ensure_champion(self, project_id: int, base: Base) -> str:
        """Set a project's champion to `base` if it has none; returns its champion.

        One that there is stays, whatever this process would start from: processes on several hosts may have different
        settings. `start_from` changes it on purpose.

        Raises:
            CheckpointError: there is no BLIP at the base's source.
        """
        with self._database.reading() as session:
            champion = _project(session, project_id).champion
        if champion is None or (not (self._directory / champion).is_dir() and base.name == champion):
            self.add_base(base)
        if champion is not None:
            return champion
        self._serve_base(project_id, base, only_if=lambda current: current is None)
        with self._database.reading() as session:
            return str(_project(session, project_id).champion)

    def start_from(self, project_id: int, base: Base) -> bool:
        """Let a project that serves a base, or nothing yet, serve this one.

        Returns:
            Whether that changed its champion: False if that is this base already, or was trained here.

        Raises:
            CheckpointError: there is no BLIP at the base's source.
        """

        def is_another(current: Version | None) -> bool:
            return current is None or (current.project_id is None and not base.is_called(current.name))

        with self._database.reading() as session:
            champion = _project(session, project_id).champion
            if not is_another(session.get(Version, champion) if champion else None):
                return False
        self.add_base(base)
        return self._serve_base(project_id, base, only_if=is_another)

    def _serve_base(self, project_id: int, base: Base, *, only_if: Callable[[Version | None], bool]) -> bool:
        with self._database.session() as session:
            project = _project(session, project_id, lock=True)
            if not only_if(session.get(Version, project.champion) if project.champion else None):
                return False
            _set_champion(session, project, base.name, previous=None, reason="the base that the project starts from")
            return True

    def promote(
        self,
        project_id: int,
        name: str,
        *,
        reason: str,
        expected: str | None = None,
        also: Callable[[Session], None] = lambda session: None,
    ) -> bool:
        """Make a version champion.

        Args:
            expected: promote only if this version is still the champion, with which the candidate was compared.
                Idempotent.
            also: called in the transaction that changes the champion; if it raises, nothing is changed.

        Returns:
            False if the champion is not the `expected` one; then nothing was changed.

        Raises:
            NotFoundError: the project has no such version, or it was deleted.
            CheckpointError: its files are damaged or gone.
        """
        verify_files(self.get(project_id, name).path)
        with self._database.session() as session:
            project = _project(session, project_id, lock=True)
            also(session)
            if expected is not None and project.champion not in (expected, name):
                return False
            if (deleted_at := session.get_one(Version, name).deleted_at) is not None:  # since it was read above
                raise _deleted(name, deleted_at)
            if project.champion != name:
                _set_champion(session, project, name, previous=project.champion, reason=reason)
            return True

    def rollback(self, project_id: int) -> str:
        """Make the previous champion champion again; returns its name.

        Rolling back twice goes two steps back. Deleted versions are skipped.

        Raises:
            NotFoundError: there is no previous champion.
            CheckpointError: its files are damaged or gone.
        """
        if (target := self.rollback_target(project_id)) is not None:
            verify_files(self._directory / target)
        with self._database.session() as session:
            project = _project(session, project_id, lock=True)
            previous = _rollback_target(session, project)
            if previous is None:
                raise NotFoundError(
                    f"Project {project.label_studio_id} has no earlier version than {project.champion} to go back to."
                )
            further_back = _previous_of(session, project, previous)
            _set_champion(
                session, project, previous, previous=further_back, reason=f"rolled back from {project.champion}"
            )
            return previous

    def rollback_target(self, project_id: int) -> str | None:
        """The target of a rollback; None if there is none."""
        with self._database.reading() as session:
            return _rollback_target(session, _project(session, project_id))

    # Keeping and deleting ------------------------------------------------------------------------------------------

    def pin(self, project_id: int, name: str, *, pinned: bool) -> None:
        """Protect a version from deletion, or stop doing so.

        Raises:
            NotFoundError: the project has no such version, or it was deleted.
            BusyError: it is a base, which is kept anyway.
        """
        self.get(project_id, name)
        with self._database.session() as session:
            version = session.get_one(Version, name)
            if version.project_id is None:
                raise BusyError(f"{name} is a base, which is never deleted; there is nothing to pin.")
            version.pinned = pinned

    def delete(self, project_id: int, name: str, *, even_rollback_target: bool = False) -> None:
        """Remove a version's files for good; its row stays.

        Args:
            even_rollback_target: also delete the target of a rollback; a rollback then goes further back.

        Raises:
            NotFoundError: the project has no such version, or it was deleted before.
            BusyError: it is the champion, a base, pinned, or the target of a rollback.
        """
        path = self.get(project_id, name).path
        with self._database.session() as session:
            project = _project(session, project_id, lock=True)
            version = session.get_one(Version, name)
            if (reason := _why_kept(project, version)) is not None:
                raise BusyError(reason)
            if name == _rollback_target(session, project) and not even_rollback_target:
                raise BusyError(
                    f"A rollback from {project.champion} leads to {name}. Say that you know, or promote another first."
                )
            version.deleted_at = utc_now()
        with writing(self._directory):  # so that no sweep looks at what is half removed
            shutil.rmtree(path, ignore_errors=True)  # `remove_leftovers` retries what cannot be removed

    # From rows --------------------------------------------------------------------------------------------------------

    def _info(self, row: Version, project: Project, served: set[str]) -> VersionInfo:
        if row.name == project.champion:
            state = "champion"
        elif row.name in served:
            state = VersionState.RETIRED.value
        else:
            state = row.state.value
        return VersionInfo(
            version=row.name,
            parent=row.parent,
            state=state,
            created_at=row.created_at,
            corrections=row.corrections,
            metrics=row.metrics,
            path=self._directory / row.name,
            reason=row.reason,
            generation=GenerationSettings.from_dict(row.generation),
            snapshot=row.snapshot,
            pinned=row.pinned,
            deleted_at=row.deleted_at,
        )

    def _origin(self, session: Session, name: str) -> str:
        """The source of the base that a version descends from."""
        version = session.get_one(Version, name)
        while version.parent is not None:
            version = session.get_one(Version, version.parent)
        return str(read_manifest(self._directory / version.name)["source"])


def _project(session: Session, project_id: int, *, lock: bool = False) -> Project:
    project = session.get(Project, project_id, with_for_update=lock)
    if project is None:
        raise NotFoundError(f"There is no project with the number {project_id} in the database.")
    return project


def _set_champion(session: Session, project: Project, name: str, *, previous: str | None, reason: str) -> None:
    if project.champion is not None:
        outgoing = session.get_one(Version, project.champion)
        if outgoing.project_id is not None:
            outgoing.state = VersionState.RETIRED
    project.champion, project.champion_since = name, utc_now()
    session.add(Promotion(project_id=project.id, version=name, previous=previous, reason=reason))


def _previous_of(session: Session, project: Project, name: str | None) -> str | None:
    promotion = session.scalars(
        select(Promotion)
        .where(Promotion.project_id == project.id, Promotion.version == name)
        .order_by(Promotion.id.desc())
        .limit(1)
    ).one_or_none()
    return promotion.previous if promotion else None


def _rollback_target(session: Session, project: Project) -> str | None:
    """The previous champion, or the latest one before it whose files exist."""
    name = _previous_of(session, project, project.champion)
    if name is None or session.get_one(Version, name).deleted_at is None:
        return name
    return session.scalars(
        select(Promotion.version)
        .join(Version, Version.name == Promotion.version)
        .where(Promotion.project_id == project.id, Promotion.version != project.champion, Version.deleted_at.is_(None))
        .order_by(Promotion.id.desc())
        .limit(1)
    ).one_or_none()


def _why_kept(project: Project, version: Version) -> str | None:
    """Why a version cannot be deleted, for people; None if it can."""
    if version.project_id is None:
        return f"{version.name} is a base that projects start from, and is never deleted."
    if version.name == project.champion:
        return f"{version.name} is the champion. Promote another version first; then it can be deleted."
    if version.pinned:
        return f"{version.name} is pinned. Unpin it first; then it can be deleted."
    return None


def _deleted(name: str, at: datetime) -> NotFoundError:
    return NotFoundError(f"Version {name} was deleted on {at:%Y-%m-%d}: its files are gone, and only its row is left.")


def _next_name(session: Session, project_id: int) -> str:
    """`v3-9c41f2`: counted within the project for people, with a random tail to be unique among all projects."""
    count = session.scalar(select(func.count()).where(Version.project_id == project_id)) or 0
    return f"v{count + 1}-{secrets.token_hex(3)}"
