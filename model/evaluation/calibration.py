"""Calibration: from a score to the probability that a person leaves the caption unchanged.

A score of 0.9 does not mean 90 %: before a version has learnt the house style its scores are high and its captions
hardly ever right. So a logistic curve is fitted to score and outcome of the judged suggestions (Platt 1999), and its
reliability is measured by cross-validation. Asking about low scores first does not bias it, since the curve is
conditional on the score. But in another style people would have changed what they left unchanged, so the corrections of
one style alone count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.model.database import Correction, CorrectionState, Database

LEAST = 50  # judged suggestions below which there is no curve
LEAST_OF_EACH = 5  # of unchanged ones, and of changed ones; the number of folds
_MOST = 2000  # the newest ones; more hardly improve the fit
_BINS = 10
_KEPT_S = 60.0  # a minute's further judgements hardly change the curve
_EDGE = 1e-6  # scores are clipped to this distance from 0 and 1, where the logit is infinite

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A suggestion with its score, 0 to 1, and what a person did to it."""

    score: float
    unchanged: bool


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability diagram, one tenth of 0 to 1: mean probability, unchanged share, count."""

    chance: float
    unchanged: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """The reliability of probabilities.

    Args:
        bins: the non-empty ones of ten, in ascending order.
        error: the expected calibration error, 0 to 1: the mean of |chance - unchanged| over the bins, weighted by
            their counts (Guo et al., arXiv 1706.04599, section 2).
    """

    bins: tuple[Bin, ...]
    error: float


@dataclass(frozen=True)
class Chances:
    """Callable: score → probability.

    Args:
        curve: scores → probabilities, each float64 (n,); None leaves the score as it is.
        judged: number of judged suggestions, used or too few.
        calibrated: reliability of the curve, cross-validated; None without a curve.
        raw: reliability of the raw score on the same suggestions; None without any.
        note: a sentence for people.
    """

    curve: Callable[[Scores], Scores] | None
    judged: int
    calibrated: Reliability | None
    raw: Reliability | None
    note: str

    def __call__(self, score: float) -> float:
        if self.curve is None:
            return score
        return float(self.curve(np.asarray([score], dtype=np.float64))[0])

    @property
    def is_calibrated(self) -> bool:
        return self.curve is not None


def chances(session: Session, project_id: int, version: str, *, style_id: int | None = None) -> Chances:
    """Calibrate a version's scores in a project.

    Args:
        version: its own suggestions are used, and if too few those of earlier versions as well, the latest first.
        style_id: of the project's current style; None is the one without a name.
    """
    return calibrate(judged_suggestions(session, project_id, version, style_id=style_id))


@dataclass(frozen=True)
class _Learnt:
    version: str
    at: float  # by time.monotonic()
    chances: Chances


class RecentChances:
    """A cache of `chances`, renewed at most once a minute for each project. Thread-safe."""

    def __init__(
        self,
        database: Database,
        *,
        current_style: Callable[[Session, int], int | None] = lambda session, project_id: None,
        kept_s: float = _KEPT_S,
    ) -> None:
        """
        Args:
            current_style: the id of a project's style; None is the one without a name.
            kept_s: lifetime of an entry, in seconds.
        """
        self._current_style = current_style
        self._database = database
        self._kept_s = kept_s
        self._lock = Lock()  # held while fitting, so that concurrent requests fit once
        self._learnt: dict[int, _Learnt] = {}  # by project

    def of(self, project_id: int, version: str) -> Chances:
        """The calibration of a version's scores in a project."""
        with self._lock:
            last = self._learnt.get(project_id)
            if last is None or last.version != version or time.monotonic() - last.at >= self._kept_s:
                with self._database.reading() as session:
                    style_id = self._current_style(session, project_id)
                    judged = judged_suggestions(session, project_id, version, style_id=style_id)
                last = self._learnt[project_id] = _Learnt(version, time.monotonic(), calibrate(judged))
            return last.chances


def judged_suggestions(session: Session, project_id: int, version: str, *, style_id: int | None = None) -> list[Judged]:
    """The suggestions to fit to: of this version, then of others until they suffice; at most the newest 2,000.

    Args:
        style_id: that their corrections belong to; None is the one without a name.
    """
    of_project = (
        Correction.project_id == project_id,
        Correction.state == CorrectionState.ACTIVE,
        Correction.suggestion_version.is_not(None),
        Correction.suggestion_score.is_not(None),
        Correction.words_changed.is_not(None),
        Correction.style_id.is_not_distinct_from(style_id),
    )
    latest = func.max(Correction.annotated_at)
    versions = session.scalars(
        select(Correction.suggestion_version)
        .where(*of_project)
        .group_by(Correction.suggestion_version)
        .order_by((Correction.suggestion_version == version).desc(), latest.desc())
    ).all()
    found: list[Judged] = []
    for name in versions:
        if _suffice(found):
            break
        rows = session.execute(
            select(Correction.suggestion_score, Correction.words_changed)
            .where(*of_project, Correction.suggestion_version == name)
            .order_by(Correction.annotated_at.desc(), Correction.id.desc())
            .limit(_MOST - len(found))
        )
        found += [Judged(score, words == 0) for score, words in rows if score is not None]
    return found


def calibrate(judged: Sequence[Judged]) -> Chances:
    """Fit the curve; with too few suggestions the score stays as it is, and the note says so."""
    scores = np.asarray([found.score for found in judged], dtype=np.float64)
    unchanged = np.asarray([found.unchanged for found in judged], dtype=bool)
    raw = reliability(scores, unchanged) if judged else None
    if not _suffice(judged):
        kept = int(unchanged.sum())
        note = (
            f"Too few corrections to calibrate: {len(judged)} suggestions were judged, {kept} of them left unchanged; "
            f"expected {LEAST}, with at least {LEAST_OF_EACH} unchanged and {LEAST_OF_EACH} changed. "
            "The score is the model's own."
        )
        return Chances(None, len(judged), None, raw, note)
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    logits = _logits(scores)
    folds = StratifiedKFold(LEAST_OF_EACH, shuffle=True, random_state=0)
    out_of_fold = cross_val_predict(LogisticRegression(), logits, unchanged, cv=folds, method="predict_proba")[:, 1]
    model = LogisticRegression().fit(logits, unchanged)
    if model.coef_[0, 0] <= 0:
        note = (
            f"The score does not tell which captions people leave unchanged: of {len(judged)} judged suggestions those "
            "with high scores were changed as often. The score is the model's own."
        )
        return Chances(None, len(judged), None, raw, note)
    calibrated = reliability(out_of_fold, unchanged)
    note = f"Calibrated on {len(judged)} judged suggestions; expected calibration error {calibrated.error:.2f}."
    return Chances(lambda given: model.predict_proba(_logits(given))[:, 1], len(judged), calibrated, raw, note)


def reliability(chances: Scores, unchanged: npt.NDArray[np.bool_]) -> Reliability:
    """Compare probabilities with outcomes, in ten equal bins of 0 to 1.

    Args:
        chances: float64 (n,), n > 0.
        unchanged: bool (n,).
    """
    places = np.minimum((chances * _BINS).astype(int), _BINS - 1)
    bins = tuple(
        Bin(float(chances[inside].mean()), float(unchanged[inside].mean()), int(inside.sum()))
        for place in range(_BINS)
        if (inside := places == place).any()
    )
    error = sum(found.count * abs(found.chance - found.unchanged) for found in bins) / len(chances)
    return Reliability(bins, error)


def _suffice(judged: Sequence[Judged]) -> bool:
    kept = sum(found.unchanged for found in judged)
    return len(judged) >= LEAST and LEAST_OF_EACH <= kept <= len(judged) - LEAST_OF_EACH


def _logits(scores: Scores) -> Scores:
    """Logits as a column: float64 (n,) → (n, 1)."""
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    logits: Scores = np.log(inside / (1 - inside))[:, None]
    return logits
