"""What a run would train on now: of the corrections that are used, those of images that are not held out."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from captionloop.backend.page_data.room import Room
from captionloop.model.database import Correction, Project
from captionloop.model.dataset import corrections
from captionloop.model.dataset.problem_watch import KnownProblems
from captionloop.model.dataset.problems import ProblemKind

_AT_ONCE = 500  # of a list in a query; databases limit its length


@dataclass(frozen=True)
class TrainingData:
    """Numbers of active corrections that are not left out; their sum is that of all of them.

    Args:
        trained_on: those that a run trains on.
        held_out: of the images that judge it.
        unwritable: of the others, those that no vocabulary of the model can write.
        is_complete: False while the search for unwritable captions is running.
    """

    trained_on: int
    held_out: int
    unwritable: int
    is_complete: bool

    @property
    def others(self) -> str:
        """What is not trained on, as a sentence; empty if nothing is."""
        parts = []
        if self.held_out:
            parts.append(f"{self.held_out} {'is' if self.held_out == 1 else 'are'} held out to judge it")
        if self.unwritable:
            parts.append(f"{self.unwritable} cannot be written with any vocabulary")
        return " and ".join(parts)


def read_training_data(room: Room, project: Project) -> TrainingData:
    """Count what a run would train on.

    Raises:
        CheckpointError: the champion's tokenizer cannot be read.
    """
    known = room.problems_of_dataset(project)
    with room.database.reading() as session:
        held_out = corrections.held_out_images(session, project.id)
        return count_training_data(session, project.id, known, held_out)


def count_training_data(
    session: Session, project_id: int, known: KnownProblems, held_out: Collection[str]
) -> TrainingData:
    """
    Args:
        known: the problems of the dataset.
        held_out: hashes of the images that are held out.
    """
    teaching = corrections.teaching(project_id)
    total = session.scalar(select(func.count()).where(*teaching)) or 0
    judging = sum(
        session.scalar(select(func.count()).where(*teaching, Correction.image_sha256.in_(some))) or 0
        for some in _parts(sorted(held_out))
    )
    hopeless = [
        number
        for problem in known.problems
        if problem.kind is ProblemKind.CANNOT_BE_WRITTEN
        for number in problem.corrections
    ]
    images = [
        image
        for some in _parts(hopeless)
        for image in session.scalars(select(Correction.image_sha256).where(*teaching, Correction.id.in_(some)))
    ]
    unwritable = sum(image not in held_out for image in images)
    return TrainingData(total - judging - unwritable, judging, unwritable, known.is_complete)


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
