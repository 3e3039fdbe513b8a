"""The gallery of corrections, problems of the dataset, and figures per annotator."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.backend.page_data.training_data import TrainingData, count_training_data
from captionloop.model.database import Correction, CorrectionState, Dismissal, Project
from captionloop.model.dataset import corrections, gallery
from captionloop.model.dataset.gallery import (
    HELD_OUT,
    LEFT_OUT,
    TEACHING,
    TRAIN,
    AnnotatorFigures,
    GalleryFilter,
)
from captionloop.model.dataset.problem_watch import KnownProblems
from captionloop.model.dataset.problems import Problem, ProblemKind

PAGE = 24
_SHOWN_OF_A_KIND = 4  # problems of a kind, before "show all"
_SHOWN_DISMISSED = 50
_FILE_WAITS_S = 60.0


@dataclass(frozen=True)
class DatasetItem:
    """A correction in the gallery.

    Args:
        image: SHA-256 of the picture's bytes; None without our copy.
        state: one of `model.dataset.gallery.STATES`.
        split: "train" or "held-out"; None if it is not used.
        reason: why the picture could not be read.
        annotator: None also if the project does not show annotators.
    """

    id: int
    task_id: int | None
    image: str | None
    captions: Sequence[str]
    state: str
    split: str | None
    reason: str | None
    annotator: str | None
    annotated_at: datetime


@dataclass(frozen=True)
class ProblemItem:
    """A problem to decide; `subject` is that of its dismissal."""

    kind: ProblemKind
    subject: str
    items: Sequence[DatasetItem]


@dataclass(frozen=True)
class ProblemGroup:
    """The problems of one kind: their number, and those to display."""

    kind: ProblemKind
    total: int
    shown: Sequence[ProblemItem]


@dataclass(frozen=True)
class Dataset:
    """The data of the page.

    Args:
        total: number of matching corrections, or of problems of the chosen kind.
        page, pages: of those, from 1.
        items: of the gallery; empty if a kind of problem is chosen.
        groups: the kinds of problems that occur, or only the chosen one.
        dismissed: dismissed problems, latest first.
        is_complete: False while the search for problems is running.
        teaching, held_out: numbers of used corrections, and of held-out images.
        training: of the used ones, what a run trains on, and what not.
        annotators: empty if the project does not show them.
    """

    total: int
    page: int
    pages: int
    items: Sequence[DatasetItem]
    groups: Sequence[ProblemGroup]
    dismissed: Sequence[Dismissal]
    is_complete: bool
    teaching: int
    held_out: int
    training: TrainingData
    annotators: Sequence[AnnotatorFigures]


@dataclass(frozen=True)
class DatasetFilter:
    """Which corrections: those of a state and a split with a text, or those with a kind of problem; None or "": all."""

    state: str | None
    split: str | None
    problem: ProblemKind | None
    text: str = ""

    def in_gallery(self, held_out: Collection[str]) -> GalleryFilter:
        return GalleryFilter(self.state, self.split, held_out, self.text)


def read_dataset(room: Room, project: Project, wanted: DatasetFilter, *, page: int = 1) -> Dataset:
    """Gather the page.

    Args:
        page: of the gallery, or of the problems of the chosen kind, from 1.

    Raises:
        CheckpointError: the champion's tokenizer cannot be read.
    """
    known = room.problems_of_dataset(project)
    with room.database.reading() as session:
        held_out = corrections.held_out_images(session, project.id)
        in_gallery = wanted.in_gallery(held_out)
        dismissed = gallery.dismissals(session, project.id)
        problems = _open_problems(known, dismissed)
        if wanted.problem is None:
            total = gallery.count(session, project.id, in_gallery)
        else:
            total = len(problems.get(wanted.problem, []))
        pages_there = max(-(-total // PAGE), 1)
        page = min(max(page, 1), pages_there)
        start = (page - 1) * PAGE
        items: Sequence[Correction] = []
        if wanted.problem is None:
            shown = {kind: found[:_SHOWN_OF_A_KIND] for kind, found in problems.items()} if page == 1 else {}
            items = gallery.listed(session, project.id, in_gallery, offset=start, limit=PAGE)
        else:
            shown = {wanted.problem: problems.get(wanted.problem, [])[start : start + PAGE]}
        shows = project.shows_annotators
        view = _View(held_out=held_out, shows_annotators=shows)
        return Dataset(
            total=total,
            page=page,
            pages=pages_there,
            items=[view.item(correction) for correction in items],
            groups=_groups(session, project, problems, shown, view),
            dismissed=dismissed[:_SHOWN_DISMISSED],
            is_complete=known.is_complete,
            teaching=gallery.count(session, project.id, GalleryFilter(TEACHING, None, ())),
            held_out=len(held_out),
            training=count_training_data(session, project.id, known, held_out),
            annotators=gallery.annotator_figures(session, project.id) if shows and page == 1 else [],
        )


@dataclass(frozen=True)
class _View:
    """Further data for displaying a correction, beside its row."""

    held_out: Collection[str]
    shows_annotators: bool

    def item(self, correction: Correction) -> DatasetItem:
        """A correction as page and API show it."""
        state = correction.state.value
        if correction.state is CorrectionState.ACTIVE:
            state = LEFT_OUT if correction.left_out else TEACHING
        split = HELD_OUT if correction.image_sha256 in self.held_out else TRAIN
        return DatasetItem(
            id=correction.id,
            task_id=correction.task_id,
            image=correction.image_sha256,
            captions=correction.captions,
            state=state,
            split=split if state == TEACHING else None,
            reason=correction.reason,
            annotator=correction.annotator if self.shows_annotators else None,
            annotated_at=correction.annotated_at,
        )


def _open_problems(known: KnownProblems, dismissed: Sequence[Dismissal]) -> dict[ProblemKind, list[Problem]]:
    """The problems that are not dismissed, by kind, in the order of kinds."""
    settled = {(dismissal.kind, dismissal.subject) for dismissal in dismissed}
    found: dict[ProblemKind, list[Problem]] = {kind: [] for kind in ProblemKind}
    for problem in known.problems:
        if (problem.kind.value, problem.subject) not in settled:
            found[problem.kind].append(problem)
    return {kind: several for kind, several in found.items() if several}


def _groups(
    session: Session,
    project: Project,
    problems: Mapping[ProblemKind, Sequence[Problem]],
    shown: Mapping[ProblemKind, Sequence[Problem]],
    view: _View,
) -> list[ProblemGroup]:
    numbers = {number for found in shown.values() for problem in found for number in problem.corrections}
    rows = gallery.by_number(session, project.id, numbers)
    return [
        ProblemGroup(
            kind=kind,
            total=len(problems[kind]),
            shown=[
                ProblemItem(kind, problem.subject, [view.item(rows[number]) for number in problem.corrections])
                for problem in found
            ],
        )
        for kind, found in shown.items()
        if found
    ]


def dataset_table(room: Room, project: Project, wanted: DatasetFilter) -> DataTable:
    """The filtered corrections for download, or those with the chosen kind of problem."""
    columns = ["id", "task", "annotation", "image", "captions", "state", "split", "note", "reason", "annotated_at"]
    if project.shows_annotators:
        columns.append("annotator")

    def rows() -> Iterator[Sequence[Any]]:
        with room.database.reading() as session:
            held_out = corrections.held_out_images(session, project.id)
            view = _View(held_out=held_out, shows_annotators=project.shows_annotators)
            for found in _chosen(session, room, project, wanted, held_out):
                item = view.item(found)
                values = [
                    found.id, found.task_id, found.annotation_id, found.image_sha256, found.captions, item.state,
                    item.split, found.note, found.reason, found.annotated_at,
                ]  # fmt: skip
                yield [*values, found.annotator] if project.shows_annotators else values

    return DataTable(columns, rows())


def _chosen(
    session: Session, room: Room, project: Project, wanted: DatasetFilter, held_out: Collection[str]
) -> Iterator[Correction]:
    if wanted.problem is None:
        yield from gallery.rows(session, project.id, wanted.in_gallery(held_out))
        return
    known = room.problems_of_dataset(project, patience_s=_FILE_WAITS_S)  # a file should not lack what is found later
    problems = _open_problems(known, gallery.dismissals(session, project.id)).get(wanted.problem, [])
    numbers = sorted({number for problem in problems for number in problem.corrections})
    for start in range(0, len(numbers), PAGE):
        found = gallery.by_number(session, project.id, numbers[start : start + PAGE])
        yield from (found[number] for number in sorted(found))


def annotators_table(room: Room, project: Project) -> DataTable:
    """The annotators' figures for download; empty if the project does not show them."""
    columns = ("annotator", "corrections", "median_time_s", "changed")
    if not project.shows_annotators:
        return DataTable(columns, [])
    with room.database.reading() as session:
        figures = gallery.annotator_figures(session, project.id)
    return DataTable(columns, [(row.annotator, row.corrections, row.median_time_s, row.changed) for row in figures])
