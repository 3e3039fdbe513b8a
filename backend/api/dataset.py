"""The dataset as JSON: its corrections and problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.dataset import DatasetFilter, DatasetItem, ProblemGroup, read_dataset
from captionloop.backend.pages.arguments import search_of
from captionloop.backend.pages.blueprint import current_room
from captionloop.model.dataset.gallery import STATES, AnnotatorFigures
from captionloop.model.dataset.problems import ProblemKind


@dataclass(frozen=True)
class ItemQuery:
    """Which corrections or problems; by default all corrections.

    Args:
        state: of the correction.
        split: used in training, or held out for the gate.
        text: in the suggestion or a caption, ignoring case and accents.
        problem: list the problems of this kind instead.
        page: of the list, from 1.
    """

    state: Literal[STATES] | None = None  # type: ignore[valid-type]
    split: Literal["train", "held-out"] | None = None
    text: str = ""
    problem: ProblemKind | None = None
    page: int = 1


@dataclass(frozen=True)
class DatasetPage:
    """A page of the dataset.

    Args:
        total: number of matching corrections, or of problems of the chosen kind.
        page, pages: of those, from 1.
        items: corrections; empty if a kind of problem is chosen.
        groups: the kinds of problems that occur, with a few of each on the first page.
        is_complete: false while the search for problems is running; request again for more.
        teaching: number of corrections used in training or by the gate.
        held_out: number of held-out images.
        annotators: figures of each; empty if the project does not show them.
    """

    total: int
    page: int
    pages: int
    items: Sequence[DatasetItem]
    groups: Sequence[ProblemGroup]
    is_complete: bool
    teaching: int
    held_out: int
    annotators: Sequence[AnnotatorFigures]


@api.get("/projects/<int:number>/dataset")
def get_dataset(number: int, query: ItemQuery) -> DatasetPage:
    """The dataset by pages, its problems, and figures per annotator."""
    room = current_room()
    wanted = DatasetFilter(query.state, query.split, query.problem, search_of(asdict(query), "text"))
    shown = read_dataset(room, room.project(number), wanted, page=query.page)
    return DatasetPage(
        total=shown.total,
        page=shown.page,
        pages=shown.pages,
        items=shown.items,
        groups=shown.groups,
        is_complete=shown.is_complete,
        teaching=shown.teaching,
        held_out=shown.held_out,
        annotators=shown.annotators,
    )
