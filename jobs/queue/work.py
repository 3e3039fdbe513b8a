"""Kinds of work that a worker takes, and RQ's queues of each.

A worker takes from its queues in this order, so a sync, for which an annotator's work waits, never waits behind a run
that has not begun.
"""

import enum
from collections.abc import Collection


class Work(enum.StrEnum):
    """A kind of work, by what it needs."""

    SYNC = "sync"  # reading annotations: a second
    CPU = "cpu"  # reading and writing tasks
    GPU = "gpu"  # everything that computes with a model


SYNCS = "captionloop-sync"
TASKS = "captionloop-cpu"
# Its name is that of the only queue of earlier releases, whose jobs are still taken.
RUNS = "captionloop"
# Behind the runs, so that a run waits for at most the trial in progress.
TRIALS = "captionloop-trials"

_QUEUES = {Work.SYNC: (SYNCS,), Work.CPU: (TASKS,), Work.GPU: (RUNS, TRIALS)}


def queues_of(taken: Collection[Work]) -> list[str]:
    """The names of RQ's queues for these kinds of work, the most urgent first."""
    return [name for work in Work if work in taken for name in _QUEUES[work]]
