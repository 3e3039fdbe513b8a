"""What was wrong with suggestions: how often each category, per version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.database import Category, Correction, CorrectionState


@dataclass(frozen=True)
class WhatWasWrong:
    """The categories of one version's suggestions.

    Args:
        judged: number of its suggestions that people submitted, changed or not.
        counts: category → how many of them, the reviewer's or else our guess; absent: none.
        by_reviewers: how many of those counts a reviewer chose.
    """

    version: str
    judged: int
    counts: Mapping[Category, int]
    by_reviewers: int

    def share(self, category: Category) -> float:
        """Of all that were judged, 0 to 1."""
        return self.counts.get(category, 0) / self.judged


def what_was_wrong(session: Session, project_id: int, versions: Sequence[str]) -> list[WhatWasWrong]:
    """The categories of each of these versions that people have judged suggestions of, in the same order."""
    category = func.coalesce(Correction.category, Correction.guess)
    rows = session.execute(
        select(Correction.suggestion_version, category, func.count(), func.count(Correction.category))
        .where(
            Correction.project_id == project_id,
            Correction.state == CorrectionState.ACTIVE,
            Correction.suggestion_version.in_(versions),
            Correction.words_changed.is_not(None),
        )
        .group_by(Correction.suggestion_version, category)
    ).all()
    found = []
    for version in versions:
        own = [(kind, count, chosen) for name, kind, count, chosen in rows if name == version]
        if own:
            counts = {Category(kind): count for kind, count, _ in own if kind is not None}
            judged, chosen = sum(count for _, count, _ in own), sum(chosen for _, _, chosen in own)
            found.append(WhatWasWrong(version, judged, counts, chosen))
    return found
