"""The pooled encoder output of each task's image, and the task's cluster.

A task keeps its cluster when the tasks are clustered again: Label Studio counts the tasks that an annotator has solved
per cluster, by the highest cluster among all predictions of a task.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import select

from captionloop.batches import batches
from captionloop.model.active_learning.diversity import FloatArray
from captionloop.model.database import Database
from captionloop.model.database import TaskFeatures as Row

_FORMAT = np.dtype("<f4")
_AT_ONCE = 500  # databases bound how many values a query may name


class TaskVectors:
    """The vectors and clusters of a project's tasks."""

    def __init__(self, database: Database, project_id: int) -> None:
        self._database = database
        self._project_id = project_id

    def keep(self, encoder: str, vectors: Mapping[int, FloatArray]) -> None:
        """Store vectors by task. Vectors of another encoder are deleted, and their clusters with them.

        Args:
            encoder: its hash.
            vectors: float32 (dimensions,).
        """
        with self._database.session() as session:
            for task_id, vector in vectors.items():
                row = session.get(Row, (self._project_id, task_id)) or Row(project_id=self._project_id, task_id=task_id)
                if row.encoder != encoder:
                    row.encoder, row.lanes, row.cluster = encoder, None, None
                row.vector = vector.astype(_FORMAT).tobytes()
                session.add(row)

    def read(self, encoder: str, task_ids: Collection[int]) -> dict[int, FloatArray]:
        """The stored vectors of this encoder, by task: float32 (dimensions,)."""
        rows = self._rows(encoder, task_ids)
        return {row.task_id: np.frombuffer(row.vector, dtype=_FORMAT).astype(np.float32) for row in rows}

    def settle_clusters(self, encoder: str, lanes: int, found: Mapping[int, int]) -> dict[int, int]:
        """The cluster of each task after all have been clustered again.

        A task with a stored cluster keeps it, if the number of lanes is the same. New clusters are numbered like the
        earlier ones with which they share most tasks.

        Args:
            lanes: how many clusters there are, numbered from 1.
            found: the new cluster of each task.
        """
        kept = {
            row.task_id: row.cluster
            for row in self._rows(encoder, found)
            if row.lanes == lanes and row.cluster is not None
        }
        names = _names(lanes, [(cluster, kept[task_id]) for task_id, cluster in found.items() if task_id in kept])
        settled = {task_id: kept.get(task_id, names[cluster]) for task_id, cluster in found.items()}
        with self._database.session() as session:
            for task_id in settled.keys() - kept.keys():
                row = session.get(Row, (self._project_id, task_id))
                if row is not None and row.encoder == encoder:
                    row.lanes, row.cluster = lanes, settled[task_id]
        return settled

    def _rows(self, encoder: str, task_ids: Collection[int]) -> Iterator[Row]:
        for batch in batches(task_ids, _AT_ONCE):
            with self._database.reading() as session:
                yield from session.scalars(
                    select(Row).where(
                        Row.project_id == self._project_id, Row.encoder == encoder, Row.task_id.in_(batch)
                    )
                ).all()


def _names(lanes: int, pairs: Sequence[tuple[int, int]]) -> dict[int, int]:
    """New cluster → earlier cluster, one to one, so that as many of the (new, earlier) pairs as possible agree."""
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((lanes, lanes))
    for new, earlier in pairs:
        shared[new - 1, earlier - 1] += 1
    return {int(new) + 1: int(earlier) + 1 for new, earlier in zip(*linear_sum_assignment(-shared), strict=True)}
