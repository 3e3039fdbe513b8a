"""Figures of each version: what people did with its suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from captionloop.model.database import Correction, CorrectionState, Suggestion
from captionloop.model.dataset import corrections
from captionloop.model.dataset.styles import current_style_id
from captionloop.model.metrics.estimate import Estimate, mean_of_counts, wilson
from captionloop.model.versions.store import VersionInfo


@dataclass(frozen=True)
class VersionFigures:
    """Figures of one version's suggestions.

    Args:
        version: its name.
        created_at: when it was made.
        suggested: number of tasks with its suggestion.
        corrected: number of its suggestions with a correction (accepted ones included).
        kept: share of those submitted without a word changed (Wilson's interval); None without any.
        words_changed: mean number of words changed in them (normal interval); None without any.
        kept_at_random: like `kept`, of random picks only, the unbiased figure while an annotation order is on; None
            without any.
    """

    version: str
    created_at: datetime
    suggested: int
    corrected: int
    kept: Estimate | None
    words_changed: Estimate | None
    kept_at_random: Estimate | None


@dataclass(frozen=True)
class LoopFigures:
    """The loop of a project.

    Args:
        versions: those with suggestions or corrections, and the champion, oldest first.
        suggestions: number of captions suggested by all versions.
        corrections: number that is used in training.
        new_corrections: of them, changed since the newest fine-tuned version was made; all if there is none.
    """

    versions: Sequence[VersionFigures]
    suggestions: int
    corrections: int
    new_corrections: int

    def of(self, version: str) -> VersionFigures | None:
        return next((figures for figures in self.versions if figures.version == version), None)


def loop_figures(
    session: Session, project_id: int, versions: Sequence[VersionInfo], *, in_current_style: bool = False
) -> LoopFigures:
    """The figures of a project, from its rows.

    Args:
        versions: all of the project's, oldest first (`VersionStore.all_of`).
        in_current_style: only what people did in the project's current style counts as corrected.
    """
    suggested = _suggested(session, project_id)
    style = [Correction.style_id.is_not_distinct_from(current_style_id(session, project_id))]
    corrected = _corrected(session, project_id, style if in_current_style else [])
    shown = [
        VersionFigures(
            version=info.version,
            created_at=info.created_at,
            suggested=suggested.get(info.version, 0),
            corrected=found.count if (found := corrected.get(info.version)) else 0,
            kept=wilson(found.unchanged, found.count) if found else None,
            words_changed=found.words_changed if found else None,
            kept_at_random=wilson(found.unchanged_at_random, found.at_random) if found and found.at_random else None,
        )
        for info in versions
        if info.version in suggested or info.version in corrected or info.state == "champion"
    ]
    trained = [info.created_at for info in versions if info.parent is not None]
    teaching = corrections.teaching(project_id)
    newer = [*teaching, Correction.updated_at > max(trained)] if trained else teaching
    return LoopFigures(
        versions=shown,
        suggestions=sum(suggested.values()),
        corrections=session.scalar(select(func.count()).where(*teaching)) or 0,
        new_corrections=session.scalar(select(func.count()).where(*newer)) or 0,
    )


@dataclass(frozen=True)
class _Corrected:
    count: int
    unchanged: int
    words_changed: Estimate
    at_random: int
    unchanged_at_random: int


def _suggested(session: Session, project_id: int) -> dict[str, int]:
    rows = session.execute(
        select(Suggestion.model_version, func.count())
        .where(Suggestion.project_id == project_id, Suggestion.caption.is_not(None))
        .group_by(Suggestion.model_version)
    )
    return dict(rows.all())


def _corrected(session: Session, project_id: int, further: Sequence[ColumnElement[bool]]) -> dict[str, _Corrected]:
    words, at_random = Correction.words_changed, Correction.asked_at_random.is_(True)
    rows: Iterable[Any] = session.execute(
        select(
            Correction.suggestion_version,
            func.count(),
            func.sum(case((words == 0, 1), else_=0)),
            func.sum(words),
            func.sum(words * words),
            func.sum(case((at_random, 1), else_=0)),
            func.sum(case((and_(at_random, words == 0), 1), else_=0)),
        )
        .where(
            Correction.project_id == project_id,
            Correction.state == CorrectionState.ACTIVE,
            Correction.suggestion_version.is_not(None),
            words.is_not(None),
            *further,
        )
        .group_by(Correction.suggestion_version)
    )
    return {
        version: _Corrected(
            count, int(unchanged), mean_of_counts(count, float(total), float(squares)), int(random), int(kept)
        )
        for version, count, unchanged, total, squares, random, kept in rows
    }
