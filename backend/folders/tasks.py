"""Tasks of a directory's pictures, one for each, whatever interrupts.

A task has the picture's name in its data, so Label Studio itself says which files it has. A batch that was cut off is
looked for before it is sent again, and of two tasks of one file the later one is deleted at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captionloop.backend.folders.picture_folder import FolderPicture, PictureFolder
from captionloop.backend.folders.places import Place
from captionloop.backend.label_studio.annotations import caption_item
from captionloop.backend.label_studio.client import IMPORTED_VERSION, LabelStudio, TaskSummary
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.backend.label_studio.task_pictures import FILE_FIELD
from captionloop.batches import batches
from captionloop.errors import LabelStudioError
from captionloop.model.database import Database
from captionloop.model.dataset import picture_names

# Bounds of a request; Label Studio takes 100 files, or 250 MB.
_FILES = 50
_BYTES = 50_000_000
# A Label Studio that starts anew is back within a minute.
_WAITS_S = (1.0, 2.0, 5.0)
_PATIENCE_S = 600.0

Progress = Callable[[int, int, str], None]
"""(files that are done; all; what else there is to say)"""


@dataclass
class FolderTasks:
    """Adds the pictures of a directory to a project.

    Args:
        project_id: Label Studio's.
        row_id: `project.id` in our database.
        as_corrections: whether captions that are there become annotations; else predictions.
    """

    label_studio: LabelStudio
    database: Database
    project_id: int
    row_id: int
    target: CaptionTarget
    folder: PictureFolder
    place: Place
    as_corrections: bool
    on_progress: Progress
    new: int = 0
    new_with_captions: int = 0

    def add(self) -> None:
        """Add what is missing. While Label Studio is away it waits, for ten minutes at most.

        Raises:
            LabelStudioError: it refuses, or does not come back.
        """
        waits = iter(_waits())
        while True:
            try:
                twins, before = self._look(), self.new
                for batch in self._batches():
                    self._add(batch)
                    waits = iter(_waits())
                if self.new > before:  # meanwhile an earlier request that was taken for lost may have been carried out
                    twins = self._look()
                self.label_studio.delete_tasks(self.project_id, twins)
                return
            except LabelStudioError as error:
                wait_s = next(waits, None) if error.may_pass else None
                if wait_s is None:
                    raise
                self._report("waiting for Label Studio")
                time.sleep(wait_s)

    def _look(self) -> list[int]:
        """Note the files that have, or once had, a task, and store those of an attempt that was cut off.

        Returns:
            The later ones of two tasks of one file, which nobody has annotated.
        """
        with self.database.reading() as session:
            self.folder.mark_done(picture_names.names_with_tasks(session, self.row_id))
        seen: set[str] = set()
        twins: list[int] = []
        for tasks in batches(self._own_tasks(), _FILES):
            unknown = {name: task.id for task in tasks if self.folder.lacks_task(name := task.data[FILE_FIELD])}
            self._store(unknown)
            self.folder.mark_done(unknown)
            for task in tasks:
                name = task.data[FILE_FIELD]
                if name in seen and not task.annotations and not task.skipped:
                    twins.append(task.id)
                seen.add(name)
        self._report()
        return twins

    def _own_tasks(self) -> Iterator[TaskSummary]:
        tasks = self.label_studio.all_tasks(self.project_id)
        return (task for task in tasks if isinstance(task.data.get(FILE_FIELD), str))

    def _store(self, tasks: Mapping[str, int]) -> None:
        """Store the names of files whose tasks an earlier attempt has made."""
        hashes = {name: self.folder.hash_of(name) for name in tasks}
        found = [(sha256, name, tasks[name]) for name, sha256 in hashes.items() if sha256 is not None]
        if found:
            with self.database.session() as session:
                picture_names.remember_tasks(session, self.row_id, found)

    def _batches(self) -> Iterator[list[FolderPicture]]:
        batch: list[FolderPicture] = []
        size = 0
        for picture in self.folder.missing():
            if batch and (len(batch) == _FILES or size + len(picture.data) > _BYTES):
                yield batch
                batch, size = [], 0
            batch.append(picture)
            size += len(picture.data)
        if batch:
            yield batch

    def _add(self, pictures: Sequence[FolderPicture]) -> None:
        addresses = self.place.addresses(pictures)
        bodies = [self._task(*pair) for pair in zip(pictures, addresses, strict=True)]
        ids = self.label_studio.import_tasks(self.project_id, bodies)
        self.folder.mark_done(picture.name for picture in pictures)
        with self.database.session() as session:
            found = [(picture.sha256, picture.name, task) for picture, task in zip(pictures, ids, strict=True)]
            picture_names.remember_tasks(session, self.row_id, found)
        self.new += len(pictures)
        self.new_with_captions += sum(bool(picture.captions) for picture in pictures)
        self._report()

    def _task(self, picture: FolderPicture, address: str) -> dict[str, Any]:
        body: dict[str, Any] = {"data": {self.target.image_field: address, FILE_FIELD: picture.name}}
        if picture.captions and self.as_corrections:
            item = caption_item(self.target, picture.captions[0]) | {"origin": "manual"}
            body["annotations"] = [{"result": [item | {"value": {"text": list(picture.captions)}}]}]
        elif picture.captions:
            # Label Studio shows the newest prediction: the first caption.
            body["predictions"] = [
                {"result": [caption_item(self.target, caption)], "model_version": IMPORTED_VERSION}
                for caption in reversed(picture.captions)
            ]
        return body

    def _report(self, note: str = "") -> None:
        self.on_progress(self.folder.done, len(self.folder), note)


def _waits() -> Iterator[float]:
    """The seconds between attempts, which add up to the patience."""
    begun = time.monotonic()
    yield from _WAITS_S
    while time.monotonic() - begun < _PATIENCE_S:
        yield _WAITS_S[-1]
