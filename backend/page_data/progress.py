"""How far people are, what was wrong with suggestions, and of which pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from captionloop.backend.page_data.room import Room, TaskCounts
from captionloop.model.database import Project
from captionloop.model.dataset.problems import ProblemKind
from captionloop.model.progress.pace import Pace, pace, skipped_tasks
from captionloop.model.progress.slices import Slices, slices
from captionloop.model.progress.what_was_wrong import WhatWasWrong, what_was_wrong


@dataclass(frozen=True)
class Progress:
    """The data of the page.

    Args:
        tasks: None where Label Studio does not tell.
        skipped: tasks that somebody skipped and nobody captioned.
        contradictory: pictures that several people describe very differently; None while that is still looked for.
        pace: of the last days.
        done_on: the day on which all tasks are captioned at that pace; None where that cannot be told.
        versions: what was wrong with each version's suggestions, newest version first.
        slices: what was kept, for parts of the corrections.
    """

    tasks: TaskCounts | None
    skipped: int
    contradictory: int | None
    pace: Pace
    done_on: date | None
    versions: Sequence[WhatWasWrong]
    slices: Slices

    @property
    def left(self) -> int | None:
        """Tasks that wait for a person; skipped ones do not."""
        return None if self.tasks is None else max(self.tasks.all - self.tasks.annotated - self.skipped, 0)


def read_progress(room: Room, project: Project, *, now: datetime) -> Progress:
    """Gather the page.

    Raises:
        CheckpointError: the champion's tokenizer cannot be read.
    """
    tasks = room.task_counts(project)
    known = room.problems_of_dataset(project)
    names = [info.version for info in room.versions.all_of(project.id, with_deleted=True)]
    with room.database.reading() as session:
        speed = pace(session, project.id, now=now)
        skipped = skipped_tasks(session, project.id)
        left = None if tasks is None else max(tasks.all - tasks.annotated - skipped, 0)
        return Progress(
            tasks=tasks,
            skipped=skipped,
            contradictory=sum(found.kind is ProblemKind.DISAGREEMENT for found in known.problems)
            if known.is_complete
            else None,
            pace=speed,
            done_on=speed.done_on(left, today=now.date()) if left else None,
            versions=what_was_wrong(session, project.id, names[::-1]),
            slices=slices(session, project.id),
        )
