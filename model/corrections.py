"""The dataset: what people made of suggestions, kept with its history, and handed out as training examples.

Nothing here is ever deleted. A correction is known by its project and its annotation; what it said before is kept as a
revision; what leaves the training set is only marked with the reason.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from captionloop.errors import CaptionloopError
from captionloop.home import Home, write_atomically
from captionloop.model.category_guess import guess_category
from captionloop.model.database import Correction, CorrectionRevision, CorrectionState, Image, Project, Suggestion
from captionloop.model.images import ImageLimits, content_hash, open_image
from captionloop.model.metrics.scores import word_edits
from captionloop.model.word_changes import nearest_reference

# The states of an annotation that is still there, in Label Studio's sense.
PRESENT = frozenset(
    {CorrectionState.ACTIVE, CorrectionState.SKIPPED, CorrectionState.EMPTIED, CorrectionState.IMAGE_UNREADABLE}
)
# Taken over from what is known already when a later look no longer finds it: predictions get deleted.
_SUGGESTION_FIELDS = ("suggestion", "suggestion_version", "suggestion_score", "parent_prediction")


@dataclass(frozen=True)
class CorrectionRecord:
    """An annotation as it was found; the fields are those of the table `correction`."""

    annotation_id: int
    task_id: int
    state: CorrectionState
    captions: list[str]
    annotated_at: datetime
    updated_at: datetime
    image_sha256: str | None = None
    suggestion: str | None = None
    suggestion_version: str | None = None
    suggestion_score: float | None = None
    parent_prediction: int | None = None
    origin: str | None = None
    annotator: str | None = None
    lead_time_s: float | None = None
    reason: str | None = None


class Change(enum.Enum):
    """What an upsert did."""

    NEW = "new"
    CHANGED = "changed"
    NONE = "none"


@dataclass(frozen=True)
class StoredImage:
    """An image whose bytes lie in the home directory under their hash."""

    sha256: str
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """A picture and one caption for it. A correction with several captions makes several."""

    correction: int
    image: str  # SHA-256 of its bytes
    caption: str


@dataclass(frozen=True)
class Snapshot:
    """The examples of one moment, in a file that is named by the SHA-256 of its content and never changes."""

    hash: str
    path: Path
    examples: tuple[Example, ...]

    def references(self) -> dict[str, list[str]]:
        """Image hash → what people wrote for it."""
        references: dict[str, list[str]] = {}
        for example in self.examples:
            references.setdefault(example.image, []).append(example.caption)
        return references


def write_image(home: Home, data: bytes, *, limits: ImageLimits) -> StoredImage:
    """Keep our own copy of an image that can be used; touches no database, so any thread may do it.

    Raises:
        ImageError: it cannot be decoded, or is over a limit.
    """
    width, height = open_image(data, limits=limits).size
    sha256 = content_hash(data)
    path = home.image(sha256)
    if not path.exists():
        write_atomically(path, data)
    return StoredImage(sha256=sha256, size_bytes=len(data), width=width, height=height)


def register_image(session: Session, image: StoredImage) -> None:
    """Make the row of a stored image, unless it is there: two syncs may meet the same image."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Image).values(**asdict(image)).on_conflict_do_nothing())


def upsert(session: Session, project_id: int, record: CorrectionRecord) -> Change:
    """Bring one annotation up to date. Doing it again changes nothing, and older news never overwrites newer."""
    _lock(session, project_id)
    known = session.scalar(
        select(Correction).where(Correction.project_id == project_id, Correction.annotation_id == record.annotation_id)
    )
    if known is None:
        values = vars(record) | derived(record.suggestion, record.captions)
        session.add(Correction(project_id=project_id, **values))
        session.flush()
        return Change.NEW
    if record.updated_at < known.updated_at:
        return Change.NONE
    values = vars(record) | _kept(known, record)
    differing = {name: value for name, value in values.items() if getattr(known, name) != value}
    if not differing:
        return Change.NONE
    if differing.keys() & {"captions", "state"}:
        _keep_revision(session, known)
    for name, value in (differing | derived(values["suggestion"], values["captions"])).items():
        setattr(known, name, value)
    session.flush()
    # The same failure in other words is no news.
    return Change.NONE if differing.keys() == {"reason"} else Change.CHANGED


def derived(suggestion: str | None, captions: Sequence[str]) -> dict[str, Any]:
    """The columns of a correction that follow from its texts, by name."""
    nearest = nearest_reference(suggestion, captions) if suggestion and captions else None
    return {
        "words_changed": word_edits(suggestion, nearest) if suggestion and nearest is not None else None,
        "search_text": "\n".join([suggestion or "", *captions]).casefold(),
        "guess": guess_category(suggestion, nearest) if suggestion and nearest is not None else None,
    }


def mark_annotations_deleted(session: Session, project_id: int, task_id: int, *, present: Collection[int]) -> int:
    """Mark the task's corrections whose annotations are not among `present`; how many."""
    gone = [Correction.task_id == task_id, Correction.annotation_id.not_in(present)]
    return _mark(session, project_id, gone, CorrectionState.ANNOTATION_DELETED)


def mark_task_deleted(session: Session, project_id: int, task_id: int) -> int:
    """Mark all corrections of a task that is gone; how many."""
    return _mark(session, project_id, [Correction.task_id == task_id], CorrectionState.TASK_DELETED)


def of_tasks(session: Session, project_id: int, task_ids: Collection[int]) -> dict[int, Correction]:
    """The corrections of these tasks by annotation id, in whatever state."""
    rows = session.scalars(
        select(Correction).where(Correction.project_id == project_id, Correction.task_id.in_(task_ids))
    )
    return {row.annotation_id: row for row in rows}


def present_per_task(session: Session, project_id: int) -> dict[int, int]:
    """How many annotations, in Label Studio's sense, are known for each task that has any."""
    rows = session.execute(
        select(Correction.task_id, func.count())
        .where(Correction.project_id == project_id, Correction.state.in_(PRESENT))
        .group_by(Correction.task_id)
    )
    return dict(rows.all())


def tasks_in_state(session: Session, project_id: int, state: CorrectionState) -> list[int]:
    """The tasks that have a correction in this state."""
    chosen = select(Correction.task_id).where(Correction.project_id == project_id, Correction.state == state)
    return list(session.scalars(chosen.distinct().order_by(Correction.task_id)))


def suggested_captions(session: Session, project_id: int, task_id: int) -> list[str]:
    """Every caption that we ever suggested for a task."""
    chosen = select(Suggestion.caption).where(
        Suggestion.project_id == project_id, Suggestion.task_id == task_id, Suggestion.caption.is_not(None)
    )
    return [caption for caption in session.scalars(chosen) if caption]


def counts(session: Session, project_id: int) -> dict[CorrectionState, int]:
    """How many corrections are in each state; states without any are there with 0."""
    rows = session.execute(
        select(Correction.state, func.count()).where(Correction.project_id == project_id).group_by(Correction.state)
    )
    found = dict(rows.all())
    return {state: found.get(state, 0) for state in CorrectionState}


def count_teaching(session: Session, project_id: int) -> int:
    """How many corrections teach the model: the active ones that nobody left out."""
    chosen = select(func.count()).select_from(Correction).where(*_teaching(project_id))
    return session.scalar(chosen) or 0


def _teaching(project_id: int) -> list[ColumnElement[bool]]:
    return [
        Correction.project_id == project_id,
        Correction.state == CorrectionState.ACTIVE,
        Correction.left_out.is_(False),
    ]


def training_examples(session: Session, project_id: int) -> list[Example]:
    """What the model may learn from: all captions of the active corrections that nobody left out, in order."""
    rows = session.execute(
        select(Correction.id, Correction.image_sha256, Correction.captions)
        .where(*_teaching(project_id))
        .order_by(Correction.id)
    )
    return [
        Example(correction, image, caption) for correction, image, captions in rows if image for caption in captions
    ]


def snapshot(session: Session, project_id: int, directory: Path) -> Snapshot:
    """Write the training examples to an immutable file, one JSON object a line. Equal examples give the same file."""
    examples = tuple(training_examples(session, project_id))
    data = _to_lines(examples)
    digest = hashlib.sha256(data).hexdigest()
    path = directory / f"{digest}.jsonl"
    if not path.exists():
        write_atomically(path, data, mode=0o400)
    return Snapshot(hash=digest, path=path, examples=examples)


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot back.

    Raises:
        CaptionloopError: the file is missing, or its content is not what its name says.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptionloopError(f"The dataset snapshot {path} cannot be read ({error.strerror}).") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != path.stem:
        raise CaptionloopError(f"The dataset snapshot {path} was changed: its content has the hash {digest}.")
    examples = tuple(Example(**json.loads(line)) for line in data.decode().splitlines())
    return Snapshot(hash=digest, path=path, examples=examples)


def _to_lines(examples: Iterable[Example]) -> bytes:
    # ASCII only: then no character of a caption can pass for the end of a line.
    return "".join(json.dumps(asdict(example), sort_keys=True) + "\n" for example in examples).encode("ascii")


def _lock(session: Session, project_id: int) -> None:
    """Have a second sync of the same project wait until this transaction ends. (SQLite lets only one write anyway.)"""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())


def _kept(known: Correction, record: CorrectionRecord) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if record.parent_prediction is None and record.suggestion is None:
        kept = {name: getattr(known, name) for name in _SUGGESTION_FIELDS}
    if record.image_sha256 is None:
        kept["image_sha256"] = known.image_sha256
    return kept


def _mark(session: Session, project_id: int, which: list[ColumnElement[bool]], state: CorrectionState) -> int:
    _lock(session, project_id)
    present = [Correction.project_id == project_id, Correction.state.in_(PRESENT)]
    rows = session.scalars(select(Correction).where(*present, *which)).all()
    for row in rows:
        _keep_revision(session, row)
        row.state = state
    session.flush()
    return len(rows)


def _keep_revision(session: Session, correction: Correction) -> None:
    session.add(
        CorrectionRevision(
            correction_id=correction.id,
            captions=correction.captions,
            state=correction.state,
            updated_at=correction.updated_at,
        )
    )
