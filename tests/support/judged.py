"""Suggestions that people judged, as calibration learns from them."""

import random
from datetime import timedelta

from captionloop.model.database import Correction, Database, utc_now
from captionloop.model.evaluation.calibration import Judged


def over_confident(count: int, *, seed: int = 0) -> list[Judged]:
    """Scores from 0.5 to 1; a person leaves a caption unchanged with the score's eighth power."""
    rng = random.Random(seed)
    scores = [rng.uniform(0.5, 1) for _ in range(count)]
    return [Judged(score, rng.random() < score**8) for score in scores]


def add_judged(database: Database, project: int, version: str, judged: list[Judged], *, days_ago: int = 0) -> None:
    with database.session() as session:
        first = session.query(Correction).count()
        session.add_all(
            Correction(
                project_id=project,
                annotation_id=first + number,
                task_id=first + number,
                captions=["a car"],
                suggestion="a car" if found.unchanged else "a boat",
                suggestion_version=version,
                suggestion_score=found.score,
                words_changed=0 if found.unchanged else 1,
                annotated_at=utc_now() - timedelta(days=days_ago),
                updated_at=utc_now(),
            )
            for number, found in enumerate(judged)
        )
