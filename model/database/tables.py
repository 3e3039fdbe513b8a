"""The tables of the database.

    project ──< correction ──< correction_revision
       │            ├── box_caption  what was written in other text boxes beside it
       │            └── image (by content hash)
       ├──< picture_name    the file names of images where they came from
       ├──< style           a manner of writing, from a moment on; corrections without one are of the unnamed style
       ├──< suggestion      the latest answer to Label Studio for a task and version, or why there was none
       ├──< task_features   the pooled encoder output of a task's image, and its cluster
       ├──< run             a fine-tuning, captioning or comparison run
       ├──< sweep           a hyperparameter search; its trials are in Optuna's own tables (`trials`, …)
       ├──< named_settings  saved fine-tuning settings
       ├──< version         a model directory; the base has no project, since all projects share it
       ├──< promotion       every change of champion
       ├──< review_action   a reviewer's change of a correction, for undo
       ├──< task_note       what an annotator says about a task
       ├──< choice          a blind verdict on two versions' captions of an image
       ├──< dismissal       a problem of the dataset that a person dismissed
       └── champion         decides what is served: changing it is the promotion

Rows are never deleted, only marked.
"""

import enum
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

LARGEST_ID = 2**31 - 1
"""The largest INTEGER of PostgreSQL; Label Studio's ids are not larger."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def utc_now() -> datetime:
    return datetime.now(UTC)


class CorrectionState(enum.StrEnum):
    """Whether a correction is used in training, and if not, why."""

    ACTIVE = "active"
    SKIPPED = "skipped"  # the annotator pressed Skip
    EMPTIED = "emptied"  # submitted without any text
    ANNOTATION_DELETED = "annotation_deleted"
    TASK_DELETED = "task_deleted"
    IMAGE_UNREADABLE = "image_unreadable"


class RunState(enum.StrEnum):
    """The state of a run. WAITING is behind another run of its project; QUEUED is sent to Redis."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in {RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}


class RunKind(enum.StrEnum):
    FINETUNE = "finetune"
    ANNOTATE = "annotate"
    COMPARE = "compare"


class VersionState(enum.StrEnum):
    """The state of a version. The champion is `project.champion`, not a state."""

    CANDIDATE = "candidate"  # not judged by the gate yet, or too close to call
    REJECTED = "rejected"
    RETIRED = "retired"  # was champion once


class Category(enum.StrEnum):
    """What was wrong with a suggestion. The names are those of Prodigy's recipe `image-caption`."""

    SUBJECT = "subject"
    ATTRIBUTES = "attributes"
    BACKGROUND = "background"
    NUMBER = "number"
    WORDING = "wording"
    OTHER = "other"


class Better(enum.StrEnum):
    """Which of two captions a person prefers."""

    FIRST = "first"
    SECOND = "second"
    SAME = "same"


class UtcDateTime(TypeDecorator[datetime]):
    """A datetime with time zone, also on SQLite, which stores none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StorableText(TypeDecorator[str]):
    """Text that every database accepts: U+FFFD replaces characters that one of them refuses.

    These are NUL (PostgreSQL) and lone surrogates (UTF-8). Both may come from outside, in the address of an image or a
    search. Captions are already without them.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)


def _words(states: type[enum.Enum]) -> Enum:
    """An enum stored as text: a new member needs no migration."""
    return Enum(states, native_enum=False, length=32, values_callable=lambda kind: [member.value for member in kind])


class Table(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own protocol)
        str: StorableText,
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        CorrectionState: _words(CorrectionState),
        RunState: _words(RunState),
        RunKind: _words(RunKind),
        VersionState: _words(VersionState),
        Category: _words(Category),
        Better: _words(Better),
    }


class Project(Table):
    """One Label Studio project: its own corrections, runs, versions and champion."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("server", "label_studio_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    server: Mapped[str]  # its Label Studio: the address, or "local" for the one that `up` starts
    label_studio_id: Mapped[int]
    title: Mapped[str] = mapped_column(default="")
    is_sample: Mapped[bool] = mapped_column(default=False)
    # False until somebody connected it: a project id from a request alone proves nothing.
    is_connected: Mapped[bool] = mapped_column(default=False)
    label_config: Mapped[str] = mapped_column(default="")
    control: Mapped[str | None]  # the text box that captions go into; None until a label config was read
    control_history: Mapped[dict[str, Any]] = mapped_column(default=dict)  # see `backend.label_studio.controls`
    ml_backend_id: Mapped[int | None]
    webhook_id: Mapped[int | None]
    webhook_secret: Mapped[str] = mapped_column(default="")  # encrypted; empty until the project is connected
    # None until the base is registered. No foreign key, as versions refer to projects; `VersionStore` alone writes it.
    champion: Mapped[str | None]
    champion_since: Mapped[datetime | None]
    synced_until: Mapped[datetime | None]  # corrections changed up to this moment of Label Studio's clock are here
    # The boxes and pictures of the label config by which they were read; empty before the first complete sync.
    synced_by: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sync_writes: Mapped[int] = mapped_column(default=0)  # how often a sync has changed corrections
    shows_annotators: Mapped[bool] = mapped_column(default=True)  # whether pages show individuals' figures
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)  # see `project_settings`
    # The project's own sampling, to be restored; None while we have not changed it.
    sampling_before: Mapped[str | None]
    # Changes of manner that people want to hear of later: what each is → how often it had been made.
    style_changes_put_off: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Version(Table):
    """A model directory, which has the version's name. Its files never change once the row is there."""

    __tablename__ = "version"

    name: Mapped[str] = mapped_column(primary_key=True)  # `model_version` in Label Studio
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"), index=True)  # None: the shared base
    parent: Mapped[str | None] = mapped_column(ForeignKey("version.name"))
    state: Mapped[VersionState] = mapped_column(default=VersionState.CANDIDATE)
    reason: Mapped[str] = mapped_column(default="")  # why it was promoted or rejected, for a person
    corrections: Mapped[int] = mapped_column(default=0)  # how many it was trained on
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    generation: Mapped[dict[str, Any]] = mapped_column(default=dict)
    snapshot: Mapped[str | None]  # hash of the dataset it was trained on
    pinned: Mapped[bool] = mapped_column(default=False)  # protected from deletion
    deleted_at: Mapped[datetime | None]  # its files are gone; the row stays, as others descend from it
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Promotion(Table):
    """One change of a project's champion. `previous` is the target of a rollback."""

    __tablename__ = "promotion"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    version: Mapped[str] = mapped_column(ForeignKey("version.name"))
    previous: Mapped[str | None] = mapped_column(ForeignKey("version.name"))
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Image(Table):
    """Our own copy of an annotated image. The bytes are in the home directory under their hash."""

    __tablename__ = "image"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    fingerprint: Mapped[bytes | None]  # see `near_duplicates`; None in rows that were made before there were any
    # The first known near-duplicate of this image, usually itself; None until that is decided, once.
    looks_like: Mapped[str | None] = mapped_column(ForeignKey("image.sha256", name="image_looks_like"), index=True)
    # The image whose side of the split this one is on. Itself where a version may have been trained before that was
    # decided, else `looks_like`.
    split_with: Mapped[str | None] = mapped_column(ForeignKey("image.sha256", name="image_split_with"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class PictureName(Table):
    """The name that an image has where it came from: its path below that directory, with slashes.

    An image may have several. It need not be in `image`, where only annotated ones are. Where the project was made of a
    directory, its files have the tasks that were made of them.
    """

    __tablename__ = "picture_name"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    image_sha256: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[int | None]


class Suggestion(Table):
    """A version's latest answer for a task: a caption with its score, or the reason why there is none."""

    __tablename__ = "suggestion"
    __table_args__ = (UniqueConstraint("project_id", "task_id", "model_version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    task_id: Mapped[int]
    model_version: Mapped[str]
    caption: Mapped[str | None]
    score: Mapped[float | None]
    reason: Mapped[str | None]
    style: Mapped[str | None]  # the name of the style that the caption is written in; None: no name
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class TaskFeatures(Table):
    """The pooled encoder output of a task's image, of the latest encoder only."""

    __tablename__ = "task_features"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    task_id: Mapped[int] = mapped_column(primary_key=True)
    encoder: Mapped[str]  # its hash
    vector: Mapped[bytes]  # float32, little-endian
    lanes: Mapped[int | None]  # the number of clusters when this task got its own
    cluster: Mapped[int | None]


class Correction(Table):
    """A human caption of an image: a Label Studio annotation with its origin, or an imported caption.

    The former is identified by its id, the latter by its image and text; a sync never changes the latter.
    """

    __tablename__ = "correction"
    __table_args__ = (
        UniqueConstraint("project_id", "annotation_id"),
        UniqueConstraint("project_id", "import_key", name="correction_by_import_key"),
        CheckConstraint(
            "(annotation_id IS NULL) = (import_key IS NOT NULL)", name="correction_is_annotated_or_imported"
        ),
        Index("correction_by_state", "project_id", "state"),
        Index("correction_by_task", "project_id", "task_id"),
        Index("correction_by_moment", "project_id", "annotated_at"),
        Index("correction_by_change", "project_id", "words_changed"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    annotation_id: Mapped[int | None]
    task_id: Mapped[int | None]
    import_key: Mapped[str | None]  # of an imported caption; see `corrections.ImportedCaption`
    imported_from: Mapped[str | None]  # the file, and where in it
    image_sha256: Mapped[str | None] = mapped_column(ForeignKey("image.sha256"), index=True)
    captions: Mapped[list[str]] = mapped_column(default=list)  # what the person wrote; may be several
    control: Mapped[str | None]  # the text box that they were read from; None: imported, or unknown
    style_id: Mapped[int | None] = mapped_column(ForeignKey("style.id", name="correction_style"))  # None: no name
    suggestion: Mapped[str | None]
    suggestion_version: Mapped[str | None]
    suggestion_score: Mapped[float | None]
    parent_prediction: Mapped[int | None]  # Label Studio's id of that suggestion
    origin: Mapped[str | None]  # prediction, prediction-changed or manual, as Label Studio says; or imported
    annotator: Mapped[str | None]
    lead_time_s: Mapped[float | None]
    asked_at_random: Mapped[bool | None]  # whether the task was a random pick; None: no annotation order
    state: Mapped[CorrectionState] = mapped_column(default=CorrectionState.ACTIVE)
    reason: Mapped[str | None]  # why the image could not be read
    annotated_at: Mapped[datetime]
    updated_at: Mapped[datetime]  # Label Studio's clock; an older one never overwrites a newer one
    # Derived, stored for filtering and sorting.
    words_changed: Mapped[int | None]  # from the suggestion to the nearest caption; None without a suggestion
    search_text: Mapped[str] = mapped_column(default="")  # `captions.search.search_form` of suggestion and captions
    guess: Mapped[Category | None]  # our rules' guess of what was wrong with the suggestion
    # The reviewer's decision. A sync never changes it.
    category: Mapped[Category | None]
    left_out: Mapped[bool] = mapped_column(default=False)  # of training
    note: Mapped[str] = mapped_column(default="")
    sent_back: Mapped[str] = mapped_column(default="")  # what its annotator is asked to change; empty: nothing
    reviewed_by: Mapped[str | None]
    reviewed_at: Mapped[datetime | None]
    revisions: Mapped[list["CorrectionRevision"]] = relationship(order_by="CorrectionRevision.id")


class BoxCaption(Table):
    """What a person wrote in another text box beside that for captions; see `model.dataset.other_boxes`."""

    __tablename__ = "box_caption"

    correction_id: Mapped[int] = mapped_column(ForeignKey("correction.id"), primary_key=True)
    box: Mapped[str] = mapped_column(primary_key=True)  # its name in the label config
    style_id: Mapped[int] = mapped_column(ForeignKey("style.id"))
    captions: Mapped[list[str]] = mapped_column(default=list)
    suggestion: Mapped[str | None]


class Style(Table):
    """A manner of writing that a project's captions have from a moment on; see `model.dataset.styles`."""

    __tablename__ = "style"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    control: Mapped[str | None]  # the other text box that its captions go into; None: that for captions
    since: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    language: Mapped[str | None]  # as somebody named it
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class CorrectionRevision(Table):
    """A previous state of a correction."""

    __tablename__ = "correction_revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    correction_id: Mapped[int] = mapped_column(ForeignKey("correction.id"), index=True)
    captions: Mapped[list[str]]
    control: Mapped[str | None]
    state: Mapped[CorrectionState]
    updated_at: Mapped[datetime]
    replaced_at: Mapped[datetime] = mapped_column(default=utc_now)


class ReviewAction(Table):
    """A reviewer's change of a correction: the changed fields, before and after."""

    __tablename__ = "review_action"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    correction_id: Mapped[int] = mapped_column(ForeignKey("correction.id"))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utc_now)
    undone: Mapped[bool] = mapped_column(default=False)


class Choice(Table):
    """A blind verdict: which of two versions' captions of an image is better. `first` is the older version."""

    __tablename__ = "choice"
    __table_args__ = (UniqueConstraint("project_id", "first", "second", "image_sha256", "by"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    first: Mapped[str] = mapped_column(ForeignKey("version.name"))
    second: Mapped[str] = mapped_column(ForeignKey("version.name"))
    image_sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256"))
    better: Mapped[Better]
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utc_now)


class Dismissal(Table):
    """A problem of the dataset that a person dismissed; can be undone."""

    __tablename__ = "dismissal"
    __table_args__ = (
        Index(
            "dismissal_one_standing",
            "project_id",
            "kind",
            "subject",
            unique=True,
            sqlite_where=text("taken_back_at IS NULL"),
            postgresql_where=text("taken_back_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    kind: Mapped[str]  # a `ProblemKind` of `model.dataset.problems`
    subject: Mapped[str]  # the number of a correction, or the hashes of images
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=utc_now)
    taken_back_by: Mapped[str | None]
    taken_back_at: Mapped[datetime | None]


class SignedOut(Table):
    """A session of the pages that somebody ended; a copy of its cookie admits nobody any more."""

    __tablename__ = "signed_out"

    session: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of its id: whoever reads this table gets no cookie
    at: Mapped[datetime] = mapped_column(default=utc_now)


class PersonSession(Table):
    """A session of somebody who has signed in with Label Studio."""

    __tablename__ = "person_session"

    session: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of its id, as above
    email: Mapped[str]
    number: Mapped[int]  # of the account in Label Studio
    credential: Mapped[str]  # encrypted: what Label Studio accepts of that account
    verified_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class TaskNote(Table):
    """What an annotator says about a task on the caption screen."""

    __tablename__ = "task_note"
    __table_args__ = (UniqueConstraint("project_id", "task_id", "by"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    task_id: Mapped[int]
    by: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    is_unclear: Mapped[bool] = mapped_column(default=False)  # skipped, since the person cannot tell what to write
    at: Mapped[datetime] = mapped_column(default=utc_now)


def _one_per_project(name: str, state: RunState) -> Index:
    """At most one run of a kind is in this state in a project, even with concurrent requests."""
    condition = text(f"state = '{state.value}'")
    return Index(name, "project_id", "kind", unique=True, sqlite_where=condition, postgresql_where=condition)


class Run(Table):
    """A job for the workers. Redis only carries its id; this row is the truth about it."""

    __tablename__ = "run"
    __table_args__ = (
        _one_per_project("run_one_waiting", RunState.WAITING),
        _one_per_project("run_one_queued", RunState.QUEUED),
        _one_per_project("run_one_running", RunState.RUNNING),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    kind: Mapped[RunKind]
    state: Mapped[RunState]
    asked_by: Mapped[str] = mapped_column(default="")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[float] = mapped_column(default=0.0)  # 0 to 1
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)  # stage, step, steps, loss, seconds_left
    message: Mapped[str] = mapped_column(default="")  # the outcome, or what went wrong, for a person
    version: Mapped[str | None] = mapped_column(ForeignKey("version.name"))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)  # more than one after a worker was killed
    fence: Mapped[int] = mapped_column(default=0)  # the number of the latest attempt, which alone may write
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]  # the worker's heartbeat; an old one means that it was killed
    finished_at: Mapped[datetime | None]


class Sweep(Table):
    """A hyperparameter search on one snapshot. Its trials are in the Optuna study named `id`."""

    __tablename__ = "sweep"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]  # also of the resulting settings
    state: Mapped[RunState]  # RUNNING from the start; its trials are queued
    asked_by: Mapped[str] = mapped_column(default="")
    space: Mapped[dict[str, Any]]  # the search space, and the settings common to all trials
    trials: Mapped[int]  # how many were requested
    snapshot: Mapped[str]  # hash of the dataset
    champion: Mapped[str] = mapped_column(ForeignKey("version.name"))  # what each trial starts from
    message: Mapped[str] = mapped_column(default="")  # the outcome for a person
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[datetime | None]


class NamedSettings(Table):
    """Saved fine-tuning settings of a project."""

    __tablename__ = "named_settings"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    settings: Mapped[dict[str, Any]]
    origin: Mapped[str] = mapped_column(default="")  # where they come from, for a person
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
