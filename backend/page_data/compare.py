"""Two versions on the same held-out images: captions, metrics, blind verdicts."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.backend.report_page.caption_line import CaptionLine
from captionloop.backend.report_page.figures import FigureRow, figure_rows
from captionloop.model.database import Better, Correction, CorrectionState, Image, Project, Run, RunState
from captionloop.model.evaluation.blind_verdicts import Tally, choices_of, say_the_same, tally, to_ask
from captionloop.model.evaluation.certainty import CLOSE
from captionloop.model.evaluation.comparison_file import ComparedImage, EvaluatedCaption
from captionloop.model.metrics.scores import counting_notes
from captionloop.model.versions.comparisons import ORDERS, FoundComparison, fewer_words, find_comparison, ordered
from captionloop.model.versions.store import VersionInfo

_PER_PAGE = 10


@dataclass(frozen=True)
class Pair:
    """Two versions of a project, the older one first, with their comparison if there is one.

    Args:
        found: None if they were not compared yet.
        run: the unfinished or failed comparison run; None if none is needed.
        newer_corrections: number made or changed since the comparison.
    """

    first: VersionInfo
    second: VersionInfo
    found: FoundComparison | None
    run: Run | None
    newer_corrections: int

    @property
    def is_being_made(self) -> bool:
        return self.run is not None and not self.run.state.is_over

    @property
    def address(self) -> Mapping[str, str]:
        """The pair as query arguments."""
        return {"first": self.first.version, "second": self.second.version}


@dataclass(frozen=True)
class ImageRow:
    """A held-out image with both versions' captions and its references.

    Args:
        width, height: of the picture in pixels; 4 to 3 if its row is gone.
        fewer_words: how many fewer words a person would have to change in the second's caption.
        bar: the same, scaled to -1 to 1 by the largest difference of the comparison.
    """

    image: str
    width: int
    height: int
    references: Sequence[str]
    first: CaptionLine
    second: CaptionLine
    fewer_words: int
    bar: float


@dataclass(frozen=True)
class ComparePage:
    """A page of a comparison.

    Args:
        figures: both versions' metrics over all images, with the intervals of the differences.
        verdict: which of them is better, in a sentence; empty if there is no comparison.
        notes: what has to be known of how the figures are counted.
        order: one of `ORDERS`.
        page, pages: counted from 1.
    """

    pair: Pair
    figures: Sequence[FigureRow]
    verdict: str
    notes: Sequence[str]
    rows: Sequence[ImageRow]
    order: str
    page: int
    pages: int


@dataclass(frozen=True)
class BlindPage:
    """A picture to judge, or the tally when all are judged.

    Args:
        image: None if none is left.
        left, right: the captions, on sides that only the server knows.
        said: the person's earlier verdict, as a side; None without one.
        judged, asked: how many pictures the person has judged, and in all.
        alike: number of pictures left out, since both captions are the same.
        undo: the previously judged picture; None at the first.
        own, everybody: the tallies; None until the person has judged all.
    """

    pair: Pair
    image: ImageRow | None
    left: str
    right: str
    said: str | None
    judged: int
    asked: int
    alike: int
    undo: str | None
    own: Tally | None
    everybody: Tally | None


def read_pair(room: Room, project: Project, first: str, second: str) -> Pair:
    """Two versions, the older one first, with their comparison.

    Args:
        first, second: their names, not the same one twice.

    Raises:
        NotFoundError: the project has no such version, or it was deleted.
    """
    wanted = {name: room.versions.get(project.id, name) for name in (first, second)}
    older, newer = sorted(wanted.values(), key=lambda info: (info.created_at, info.version))
    found = find_comparison(room.home, project.id, older, newer)
    run = room.comparison_run(project, older.version, newer.version)
    newer_corrections = _newer_corrections(room, project, found) if found else 0
    return Pair(older, newer, found, _news(run, found), newer_corrections)


def read_compare(room: Room, pair: Pair, *, order: str, page: int) -> ComparePage:
    """A page of a comparison; empty if there is none yet."""
    images = pair.found.stored.images if pair.found else ()
    most = max((abs(fewer_words(image)) for image in images), default=0)
    page_count = max(-(-len(images) // _PER_PAGE), 1)
    page = min(max(page, 1), page_count)
    figures = figure_rows(pair.found.stored.figures) if pair.found else []
    shown = ordered(images, order)[(page - 1) * _PER_PAGE : page * _PER_PAGE]
    return ComparePage(
        pair=pair,
        figures=figures,
        verdict=_verdict(pair, figures) if figures else "",
        notes=counting_notes(text for image in images for text in image.references),
        rows=_rows(room, pair, shown, most),
        order=order,
        page=page,
        pages=page_count,
    )


def _verdict(pair: Pair, figures: Sequence[FigureRow]) -> str:
    """By the figure that the gate judges by, the first one."""
    said = figures[0].verdict
    if said == "the same":
        return f"Both are the same by {figures[0].title}."
    if said == CLOSE:
        return f"Which of them is better is {CLOSE}."
    return f"{pair.second.version} is {said}."


def read_blind(
    room: Room, project: Project, pair: Pair, *, by: str, image: str | None, may_judge: bool, key: bytes
) -> BlindPage:
    """The next picture for a person to judge, or the named one.

    Args:
        key: determines the sides; known only to the server.
    """
    images = pair.found.stored.images if pair.found else ()
    asked = {found.image: found for found in to_ask(images, pair.first.version, pair.second.version)}
    with room.database.reading() as session:
        known = choices_of(session, project.id, pair.first.version, pair.second.version, by=by)
        judged = {name: better for name, better in known.items() if name in asked}
        is_over = len(judged) == len(asked) or not may_judge
        own, everybody = (
            tally(session, project.id, pair.first.version, pair.second.version, asked, by=whose) if is_over else None
            for whose in (by, None)
        )
    left_over = [name for name in asked if name not in judged]
    current = image if image in asked else next(iter(left_over), None)
    before = list(judged)
    undo_at = before.index(current) if current in judged else len(before)
    shown = asked[current] if current and may_judge else None
    is_swapped = current is not None and stands_left(key, by, pair, current)
    captions = (shown.champion.caption, shown.candidate.caption) if shown else ("", "")
    return BlindPage(
        pair=pair,
        image=_rows(room, pair, [shown], 0)[0] if shown else None,
        left=captions[1] if is_swapped else captions[0],
        right=captions[0] if is_swapped else captions[1],
        said=_side(judged[current], is_swapped=is_swapped) if current in judged else None,
        judged=len(judged),
        asked=len(asked),
        alike=say_the_same(images),
        undo=before[undo_at - 1] if undo_at else None,
        own=own,
        everybody=everybody,
    )


def default_pair(versions: Sequence[VersionInfo]) -> dict[str, str | None]:
    """The newest version and its parent, which its run has compared; else the two newest."""
    names = [info.version for info in versions]
    if len(names) < 2:
        return {"first": None, "second": None}
    newest = versions[-1]
    return {"first": newest.parent if newest.parent in names else names[-2], "second": newest.version}


def _news(run: Run | None, found: FoundComparison | None) -> Run | None:
    """The run, if it is unfinished, or failed."""
    if run is None or found is None:
        return run
    is_made = found.made_at >= (run.started_at or run.created_at)
    return run if not is_made and (not run.state.is_over or run.state is RunState.FAILED) else None


def _newer_corrections(room: Room, project: Project, found: FoundComparison) -> int:
    with room.database.reading() as session:
        count = select(func.count()).where(
            Correction.project_id == project.id,
            Correction.state == CorrectionState.ACTIVE,
            Correction.left_out.is_(False),
            Correction.updated_at > found.made_at,
        )
        return session.scalar(count) or 0


def _rows(room: Room, pair: Pair, images: Sequence[ComparedImage], most: int) -> list[ImageRow]:
    with room.database.reading() as session:
        sizes = select(Image.sha256, Image.width, Image.height).where(
            Image.sha256.in_([found.image for found in images])
        )
        known = {sha256: (width, height) for sha256, width, height in session.execute(sizes)}
    return [
        ImageRow(
            image=found.image,
            width=known.get(found.image, (4, 3))[0],
            height=known.get(found.image, (4, 3))[1],
            references=found.references,
            first=CaptionLine.of(pair.first.version, found.champion, found.references),
            second=CaptionLine.of(pair.second.version, found.candidate, found.references),
            fewer_words=fewer_words(found),
            bar=fewer_words(found) / most if most else 0.0,
        )
        for found in images
    ]


def stands_left(key: bytes, by: str, pair: Pair, image: str) -> bool:
    """Whether the second version is on the left: fixed for a person and a picture, by a key that never leaves the
    server, so that the page reveals nothing."""
    text = "\n".join(("side", by, pair.first.version, pair.second.version, image))
    return hmac.digest(key, text.encode(), "sha256")[0] % 2 == 1


def better_of(side: str, *, is_swapped: bool) -> Better:
    """Which version is on a side, "left" or "right"; "same" is neither.

    Raises:
        KeyError: there is no such side.
    """
    better = {"left": Better.FIRST, "right": Better.SECOND, "same": Better.SAME}[side]
    return _mirrored(better) if is_swapped else better


def _side(better: Better, *, is_swapped: bool) -> str:
    shown = _mirrored(better) if is_swapped else better
    return {Better.FIRST: "left", Better.SECOND: "right", Better.SAME: "same"}[shown]


def _mirrored(better: Better) -> Better:
    return {Better.FIRST: Better.SECOND, Better.SECOND: Better.FIRST, Better.SAME: Better.SAME}[better]


def figures_table(found: FoundComparison) -> DataTable:
    columns = ("figure", found.first, found.second, "difference", "low", "high", "p_value")
    rows = [
        (name, figure.first, figure.second, figure.difference, *figure.interval, figure.p_value)
        for name, figure in found.stored.figures.items()
    ]
    return DataTable(columns, rows)


def images_table(found: FoundComparison) -> DataTable:
    """Both captions and their figures for each held-out image, for download."""
    figures = ("caption", "cider_d", "word_edits", "exact_match")
    columns = (
        "image",
        "people",
        *(f"{figure} of {name}" for name in (found.first, found.second) for figure in figures),
    )
    rows = [
        (image.image, " / ".join(image.references), *_cells(image.champion), *_cells(image.candidate))
        for image in ordered(found.stored.images, ORDERS[0])
    ]
    return DataTable(columns, rows)


def _cells(written: EvaluatedCaption) -> tuple[Any, ...]:
    return (written.caption, written.cider_d, written.word_edits, written.exact_match)
