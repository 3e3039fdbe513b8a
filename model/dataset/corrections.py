"""The store of corrections: upserts with history, and training examples.

Nothing is ever deleted. A correction is identified by project and annotation, or, if imported, by project, image and
caption. Earlier states are kept as revisions; a correction that leaves the training set is marked with the reason.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from captionloop.errors import CaptionloopError
from captionloop.home import Home, write_atomically
from captionloop.image_limits import ImageLimits
from captionloop.model.captions.example import Example
from captionloop.model.captions.search import search_form
from captionloop.model.database import (
    Correction,
    CorrectionRevision,
    CorrectionState,
    Image,
    Project,
    Style,
    Suggestion,
    add_unless_there,
    utc_now,
)
from captionloop.model.dataset.category_guess import guess_category
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.dataset.near_duplicates import fingerprint, settle
from captionloop.model.dataset.other_boxes import examples_of_boxes
from captionloop.model.dataset.split import Split, split_images
from captionloop.model.dataset.styles import style_id_at
from captionloop.model.metrics.word_changes import are_comparable, nearest_reference, word_edits

IMPORTED = "imported"  # the origin of a correction that came from somebody's dataset
# The states of an annotation that still exists in Label Studio.
PRESENT = frozenset(
    {CorrectionState.ACTIVE, CorrectionState.SKIPPED, CorrectionState.EMPTIED, CorrectionState.IMAGE_UNREADABLE}
)
# Kept from the stored row when a later sync no longer finds them: predictions get deleted.
_SUGGESTION_FIELDS = ("suggestion", "suggestion_version", "suggestion_score", "parent_prediction", "asked_at_random")


@dataclass(frozen=True)
class CorrectionRecord:
    """An annotation as read from Label Studio; the fields are those of the table `correction`."""

    annotation_id: int
    task_id: int
    state: CorrectionState
    captions: list[str]
    annotated_at: datetime
    updated_at: datetime
    control: str | None = None
    image_sha256: str | None = None
    suggestion: str | None = None
    suggestion_version: str | None = None
    suggestion_score: float | None = None
    parent_prediction: int | None = None
    origin: str | None = None
    annotator: str | None = None
    lead_time_s: float | None = None
    asked_at_random: bool | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ImportedCaption:
    """A caption from a dataset, for an image that is stored and registered."""

    image_sha256: str
    caption: str
    imported_from: str  # the file, and where in it

    @property
    def key(self) -> str:
        """Its identity: image and caption, whichever file it comes from."""
        return hashlib.sha256(f"{self.image_sha256} {self.caption}".encode()).hexdigest()


class UpsertResult(enum.Enum):
    """The outcome of an upsert."""

    NEW = "new"
    CHANGED = "changed"
    NONE = "none"


@dataclass(frozen=True)
class StoredImage:
    """An image whose bytes are in the home directory under their hash."""

    sha256: str
    size_bytes: int
    width: int
    height: int
    fingerprint: bytes


@dataclass(frozen=True)
class Snapshot:
    """The examples at one moment, in an immutable file named by the SHA-256 of its content."""

    hash: str
    path: Path
    examples: tuple[Example, ...]

    def references(self, style: str | None = None) -> dict[str, list[str]]:
        """Image hash → human captions, of the images that have any in a style.

        Args:
            style: None is the one without a name, which has all captions where there are no others.
        """
        references: dict[str, list[str]] = {}
        for example in self.examples:
            if example.style == style:
                references.setdefault(example.image, []).append(example.caption)
        return references

    @property
    def styles(self) -> tuple[str | None, ...]:
        """The styles that there are captions in, in the order of the examples."""
        return tuple(dict.fromkeys(example.style for example in self.examples))

    def judged_in(self, style: str | None) -> str | None:
        """The style in which captions in this one are judged: the same, or the latest that there are captions in."""
        return style if style in self.styles or not self.styles else self.styles[-1]

    @property
    def split_with(self) -> dict[str, str]:
        """Image → the image whose side of the split it is on, if that is another one."""
        return {example.image: example.split_with for example in self.examples if example.split_with}

    def split(self) -> Split:
        """The images to train on and those held out; depends on this file alone."""
        return split_of(self.examples)


def write_image(home: Home, data: bytes, *, limits: ImageLimits) -> StoredImage:
    """Store a copy of a valid image. Thread-safe, without database access.

    Raises:
        ImageError: it cannot be decoded, or is over a limit.
    """
    picture = open_image(data, limits=limits)
    sha256 = content_hash(data)
    path = home.image(sha256)
    if not path.exists():
        write_atomically(path, data)
    return StoredImage(
        sha256=sha256,
        size_bytes=len(data),
        width=picture.width,
        height=picture.height,
        fingerprint=fingerprint(picture),
    )


def registered_images(session: Session, hashes: Collection[str]) -> set[str]:
    """Which of these images have a row."""
    return set(session.scalars(select(Image.sha256).where(Image.sha256.in_(hashes))))


def register_image(session: Session, image: StoredImage) -> None:
    """Insert the row of a stored image, unless it exists: two syncs may register the same image."""
    add_unless_there(session, Image, **asdict(image))


def upsert(
    session: Session, project_id: int, record: CorrectionRecord, prepared: Derived | None = None
) -> UpsertResult:
    """Insert or update one annotation. Idempotent; an older state never overwrites a newer one.

    Args:
        prepared: the columns derived from its texts, computed before the transaction, which locks the database.
    """
    _lock(session, project_id)
    known = session.scalar(
        select(Correction).where(Correction.project_id == project_id, Correction.annotation_id == record.annotation_id)
    )
    if known is None:
        values = vars(record) | _derived_once(prepared, vars(record))
        style = style_id_at(session, project_id, record.annotated_at)
        session.add(Correction(project_id=project_id, style_id=style, **values))
        session.flush()
        return UpsertResult.NEW
    # A stored time in the future is from a clock that has since been set back.
    if record.updated_at < known.updated_at <= utc_now():
        return UpsertResult.NONE
    values = vars(record) | _kept(known, record)
    differing = {name: value for name, value in values.items() if getattr(known, name) != value}
    if not differing:
        return UpsertResult.NONE
    if differing.keys() & {"captions", "state"}:
        _keep_revision(session, known)
        known.sent_back = ""  # whoever was asked to change it has done so
    for name, value in (differing | _derived_once(prepared, values)).items():
        setattr(known, name, value)
    session.flush()
    # Another wording of the same failure, or another box for the same caption, is not a change.
    return UpsertResult.NONE if differing.keys() <= {"reason", "control"} else UpsertResult.CHANGED


def rewrite(session: Session, correction: Correction, captions: Sequence[str], *, updated_at: datetime) -> None:
    """Give a correction other captions, which its annotation has already; its earlier state becomes a revision."""
    if list(captions) != list(correction.captions):
        _keep_revision(session, correction)
        correction.captions, correction.sent_back = list(captions), ""
        for name, value in derived(correction.suggestion, captions).items():
            setattr(correction, name, value)
    correction.updated_at = max(correction.updated_at, updated_at)
    session.flush()


@dataclass(frozen=True)
class Derived:
    """The columns of a correction that are derived from its texts, and those texts."""

    suggestion: str | None
    captions: Sequence[str]
    columns: dict[str, Any]

    @classmethod
    def of(cls, record: CorrectionRecord, known: Correction | None) -> Derived:
        """For the correction that `upsert` makes of a record and the known state of its annotation."""
        values = vars(record) | (_kept(known, record) if known is not None else {})
        suggestion, captions = values["suggestion"], values["captions"]
        return cls(suggestion, captions, derived(suggestion, captions))


def _derived_once(prepared: Derived | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The prepared columns, unless the texts changed meanwhile, as by a second sync."""
    texts = values["suggestion"], values["captions"]
    return prepared.columns if prepared and (prepared.suggestion, prepared.captions) == texts else derived(*texts)


def derived(suggestion: str | None, captions: Sequence[str]) -> dict[str, Any]:
    """The columns of a correction that are derived from its texts, by name.

    A caption that is too long to be compared counts as one that nothing was suggested for.
    """
    nearest = nearest_reference(suggestion, captions) if suggestion and captions else None
    is_compared = suggestion and nearest is not None and are_comparable(suggestion, nearest)
    return {
        "words_changed": word_edits(suggestion, nearest) if suggestion and nearest and is_compared else None,
        "search_text": search_form("\n".join([suggestion or "", *captions])),
        "guess": guess_category(suggestion, nearest) if suggestion and nearest and is_compared else None,
    }


def add_imported(session: Session, project_id: int, captions: Sequence[ImportedCaption]) -> int:
    """Insert a correction for each caption that is new for its image in the project; returns how many.

    Captions that were imported before, in whatever state, or written in Label Studio are not inserted again.
    """
    _lock(session, project_id)
    of_project = Correction.project_id == project_id
    by_key = {caption.key: caption for caption in captions}
    keys = set(session.scalars(select(Correction.import_key).where(of_project, Correction.import_key.in_(by_key))))
    annotated = session.execute(
        select(Correction.image_sha256, Correction.captions).where(
            of_project,
            Correction.image_sha256.in_({caption.image_sha256 for caption in captions}),
            Correction.import_key.is_(None),
            Correction.state.in_(PRESENT),
        )
    )
    written = {(image, text) for image, texts in annotated for text in texts}
    new = {
        key: caption
        for key, caption in by_key.items()
        if key not in keys and (caption.image_sha256, caption.caption) not in written
    }
    now = utc_now()
    style = style_id_at(session, project_id, now)
    session.add_all(
        Correction(
            project_id=project_id,
            style_id=style,
            import_key=key,
            imported_from=caption.imported_from,
            image_sha256=caption.image_sha256,
            captions=[caption.caption],
            origin=IMPORTED,
            state=CorrectionState.ACTIVE,
            annotated_at=now,
            updated_at=now,
            **derived(None, [caption.caption]),
        )
        for key, caption in new.items()
    )
    session.flush()
    return len(new)


def mark_annotations_deleted(session: Session, project_id: int, task_id: int, *, present: Collection[int]) -> int:
    """Mark the task's corrections whose annotations are not among `present`; returns how many."""
    gone = [Correction.task_id == task_id, Correction.annotation_id.not_in(present)]
    return _mark(session, project_id, gone, CorrectionState.ANNOTATION_DELETED)


def mark_task_deleted(session: Session, project_id: int, task_id: int) -> int:
    """Mark all corrections of a deleted task; returns how many."""
    return _mark(session, project_id, [Correction.task_id == task_id], CorrectionState.TASK_DELETED)


def of_tasks(session: Session, project_id: int, task_ids: Collection[int]) -> dict[int, Correction]:
    """The corrections of these tasks by annotation id, in any state."""
    rows = session.scalars(
        select(Correction).where(Correction.project_id == project_id, Correction.task_id.in_(task_ids))
    )
    return {row.annotation_id: row for row in rows if row.annotation_id is not None}


def present(session: Session, project_id: int) -> int:
    """How many annotations that exist in Label Studio are stored."""
    # An imported caption has no task in Label Studio.
    chosen = select(func.count()).where(
        Correction.project_id == project_id, Correction.state.in_(PRESENT), Correction.task_id.is_not(None)
    )
    return session.execute(chosen).scalar_one()


def present_per_task(session: Session, project_id: int) -> dict[int, int]:
    """The same for each task that has any."""
    rows = session.execute(
        select(Correction.task_id, func.count())
        .where(Correction.project_id == project_id, Correction.state.in_(PRESENT))
        .group_by(Correction.task_id)
    )
    return {task: count for task, count in rows if task is not None}


def tasks_in_state(session: Session, project_id: int, state: CorrectionState) -> list[int]:
    """The tasks that have a correction in this state."""
    chosen = select(Correction.task_id).where(Correction.project_id == project_id, Correction.state == state)
    found = session.scalars(chosen.distinct().order_by(Correction.task_id))
    return [task for task in found if task is not None]


def suggested_captions(session: Session, project_id: int, task_id: int) -> list[str]:
    """Every caption that we ever suggested for a task."""
    chosen = select(Suggestion.caption).where(
        Suggestion.project_id == project_id, Suggestion.task_id == task_id, Suggestion.caption.is_not(None)
    )
    return [caption for caption in session.scalars(chosen) if caption]


def suggested_scores(session: Session, project_id: int, task_ids: Sequence[int]) -> dict[tuple[int, str], float]:
    """The raw scores of suggestions for these tasks, by task and version.

    Label Studio has calibrated probabilities, or ranks of an annotation order, instead.
    """
    rows = session.execute(
        select(Suggestion.task_id, Suggestion.model_version, Suggestion.score).where(
            Suggestion.project_id == project_id, Suggestion.task_id.in_(task_ids), Suggestion.score.is_not(None)
        )
    )
    return {(task_id, version): score for task_id, version, score in rows if score is not None}


def counts(session: Session, project_id: int) -> dict[CorrectionState, int]:
    """How many corrections are in each state; states without any are there with 0."""
    rows = session.execute(
        select(Correction.state, func.count()).where(Correction.project_id == project_id).group_by(Correction.state)
    )
    found = dict(rows.all())
    return {state: found.get(state, 0) for state in CorrectionState}


def has_learnt(session: Session, project_id: int) -> bool:
    """Whether any caption was read from an annotation."""
    of_annotations = [Correction.project_id == project_id, Correction.annotation_id.is_not(None)]
    with_captions = Correction.state.in_({CorrectionState.ACTIVE, CorrectionState.IMAGE_UNREADABLE})
    return session.scalar(select(Correction.id).where(*of_annotations, with_captions).limit(1)) is not None


def count_teaching(session: Session, project_id: int) -> int:
    """How many corrections are used in training: the active ones that no reviewer left out."""
    chosen = select(func.count()).select_from(Correction).where(*teaching(project_id))
    return session.scalar(chosen) or 0


def teaching(project_id: int) -> list[ColumnElement[bool]]:
    """SQL conditions for corrections that are used in training."""
    return [
        Correction.project_id == project_id,
        Correction.state == CorrectionState.ACTIVE,
        Correction.left_out.is_(False),
    ]


def training_examples(session: Session, project_id: int) -> list[Example]:
    """All captions of the active corrections that no reviewer left out, in order; then those of other text boxes."""
    rows = session.execute(
        select(Correction.id, Image.sha256, Image.split_with, Style.name, Correction.captions)
        .join(Image, Image.sha256 == Correction.image_sha256)
        .outerjoin(Style, Style.id == Correction.style_id)
        .where(*teaching(project_id))
        .order_by(Correction.id)
    )
    of_captions = [
        Example(correction, image, caption, split_with if split_with != image else None, style)
        for correction, image, split_with, style, captions in rows
        for caption in captions
    ]
    return of_captions + examples_of_boxes(session, teaching(project_id))


def project_of(session: Session, examples: Sequence[Example]) -> int | None:
    """The project that a snapshot's examples are of; None if they are of another database."""
    numbers = [example.correction for example in examples[:1]]
    return session.scalar(select(Correction.project_id).where(Correction.id.in_(numbers)))


def split_of(examples: Sequence[Example]) -> Split:
    """The split of the examples' images."""
    split_with = {example.image: example.split_with for example in examples if example.split_with}
    return split_images((example.image for example in examples), split_with=split_with)


def held_out_images(session: Session, project_id: int) -> frozenset[str]:
    """The hashes of the images that `split_of` holds out of a project's training examples."""
    images = session.execute(
        select(Image.sha256, Image.split_with).where(
            Image.sha256.in_(select(Correction.image_sha256).where(*teaching(project_id)))
        )
    ).all()
    split_with = {image: other for image, other in images if other is not None}
    return frozenset(split_images((image for image, _ in images), split_with=split_with).held_out)


def snapshot(session: Session, project_id: int, home: Home) -> Snapshot:
    """Write the training examples to an immutable file, one JSON object per line. Equal examples give the same file.

    Near-duplicates are decided for all images first, so `session` must be one that writes.
    """
    while settle(session, home):
        pass
    return freeze(training_examples(session, project_id), home.datasets)


def freeze(examples: Iterable[Example], directory: Path) -> Snapshot:
    """Write examples to a snapshot's file in a directory."""
    examples = tuple(examples)
    data = _to_lines(examples)
    digest = hashlib.sha256(data).hexdigest()
    path = directory / f"{digest}.jsonl"
    if not path.exists():
        write_atomically(path, data, mode=0o400)
    return Snapshot(hash=digest, path=path, examples=examples)


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        CaptionloopError: the file is missing, or its content does not match its name.
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
    # ASCII only, so that no character of a caption is taken for a line break.
    return "".join(json.dumps(_fields(example), sort_keys=True) + "\n" for example in examples).encode("ascii")


def _fields(example: Example) -> dict[str, Any]:
    """Without `split_with` and `style` where they are None, for the same hashes as files of earlier releases."""
    return {name: value for name, value in vars(example).items() if value is not None}


def _lock(session: Session, project_id: int) -> None:
    """Block a second sync of the same project until this transaction ends. (SQLite allows one writer anyway.)"""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())


def _kept(known: Correction, record: CorrectionRecord) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if record.parent_prediction is None and record.suggestion is None:
        kept = {name: getattr(known, name) for name in _SUGGESTION_FIELDS}
    if record.image_sha256 is None:
        kept["image_sha256"] = known.image_sha256
    if record.control is None:
        kept["control"] = known.control
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
            control=correction.control,
            state=correction.state,
            updated_at=correction.updated_at,
        )
    )
