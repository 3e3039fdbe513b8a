"""Comparisons of two versions as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from captionloop.backend.api.endpoints import api
from captionloop.backend.page_data.compare import ImageRow, read_compare
from captionloop.backend.pages.blueprint import current_room
from captionloop.backend.pages.compare import chosen_pair
from captionloop.backend.report_page.figures import FigureRow
from captionloop.model.versions.comparisons import ORDERS


@dataclass(frozen=True)
class ComparisonQuery:
    """Which two versions, and which of their images.

    Args:
        first, second: names of the versions, in any order.
        order: of the images.
        page: of the images, from 1.
    """

    first: str
    second: str
    order: Literal[ORDERS] = ORDERS[0]  # type: ignore[valid-type]
    page: int = 1


@dataclass(frozen=True)
class VersionComparison:
    """Two versions on the same held-out images.

    Args:
        first, second: the versions, the older one first.
        is_made: whether they were compared; if not, it can be requested on the page.
        figures: metrics of both over all images, with intervals.
        page, pages: of the images, from 1.
        images: human captions and both versions' captions, for those of this page.
    """

    first: str
    second: str
    is_made: bool
    figures: Sequence[FigureRow]
    page: int
    pages: int
    images: Sequence[ImageRow]


@api.get("/projects/<int:number>/comparison")
def get_comparison(number: int, query: ComparisonQuery) -> VersionComparison:
    """Two versions' captions of the same held-out images, with the differences in metrics."""
    room = current_room()
    pair = chosen_pair(room, room.project(number), query.first, query.second)
    shown = read_compare(room, pair, order=query.order, page=query.page)
    return VersionComparison(
        first=pair.first.version,
        second=pair.second.version,
        is_made=pair.found is not None,
        figures=shown.figures,
        page=shown.page,
        pages=shown.pages,
        images=shown.rows,
    )
