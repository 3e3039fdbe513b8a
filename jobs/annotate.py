"""Re-captioning: the champion's suggestions for all unlabelled tasks of a project, pushed to Label Studio.

Label Studio would ask for each when its task is opened; having them there already saves people the wait and fills the
Data Manager. Tasks whose newest suggestion is the champion's are passed over, so a run that was killed goes on where it
was. The newest is what Label Studio shows: after a rollback, an older one of the same champion has to be made again.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from captionloop.backend.annotations import to_prediction
from captionloop.backend.label_config import CaptionTarget, read_label_config, task_image
from captionloop.errors import ImageError
from captionloop.jobs.context import Context
from captionloop.model.database import Project, Run
from captionloop.model.images import content_hash, open_image
from captionloop.model.suggestions import Answer, SuggestionLog

if TYPE_CHECKING:
    from PIL.Image import Image

    from captionloop.model.captioner import Captioner

_log = logging.getLogger(__name__)

_BATCH = 32
_READERS = 8


def run_annotate(context: Context, run: Run) -> tuple[str, None]:
    """Caption what the champion has not captioned yet.

    Returns:
        what was done, as a sentence; and no version, since none is made.

    Raises:
        RunCancelled: somebody cancelled the run; what was pushed until then stays.
        LabelStudioError: Label Studio does not answer.
    """
    project = context.project(run.project_id)
    context.versions.ensure_champion(project.id, context.base)
    captioner = context.champion_captioner(project.id)
    target = read_label_config(context.label_studio.project(project.label_studio_id)["label_config"])
    log = SuggestionLog(context.database)
    task_ids = [task.id for task in context.label_studio.unlabelled_tasks(project.label_studio_id)]
    done = failed = 0
    for batch in _batches(task_ids, _BATCH):
        context.queue.runs.report(run.id, done / len(task_ids), stage="captioning", step=done, steps=len(task_ids))
        tasks = _showing_another_version(context, project, batch, captioner.version)
        answers = _caption(context, captioner, target, tasks)
        _push(context, project, target, captioner.version, answers)
        log.keep(project.id, captioner.version, answers)
        _drop_outdated(context, tasks)
        done += len(batch)
        failed += sum(answer.suggestion is None for answer in answers)
    unreadable = f" {failed} could not be captioned; the log says why." if failed else ""
    return f"{done} unlabelled tasks have suggestions of {captioner.version}.{unreadable}", None


def _showing_another_version(
    context: Context, project: Project, task_ids: Sequence[int], version: str
) -> list[dict[str, Any]]:
    tasks = context.label_studio.tasks(project.label_studio_id, task_ids)
    newest = [max(task["predictions"], key=itemgetter("id"), default={"model_version": None}) for task in tasks]
    return [task for task, shown in zip(tasks, newest, strict=True) if shown["model_version"] != version]


def _caption(
    context: Context, captioner: "Captioner", target: CaptionTarget, tasks: Sequence[dict[str, Any]]
) -> list[Answer]:
    def read(task: dict[str, Any]) -> "tuple[str, Image] | str":
        try:
            data = context.image_source.read(task_image(target, task["data"]), task_id=task["id"])
            return content_hash(data), open_image(data, limits=context.image_limits)
        except ImageError as error:
            _log.warning("task %s: no suggestion: %s", task["id"], error)
            return str(error)

    with ThreadPoolExecutor(_READERS) as readers:
        pictures = dict(zip((task["id"] for task in tasks), readers.map(read, tasks), strict=True))
    readable = {task_id: picture for task_id, picture in pictures.items() if not isinstance(picture, str)}
    suggestions = captioner.caption(
        [image for _, image in readable.values()], image_hashes=[digest for digest, _ in readable.values()]
    )
    made = dict(zip(readable, suggestions, strict=True))
    return [
        Answer(task_id, made.get(task_id), picture if isinstance(picture, str) else None)
        for task_id, picture in pictures.items()
    ]


def _push(context: Context, project: Project, target: CaptionTarget, version: str, answers: Sequence[Answer]) -> None:
    predictions = [
        {"task": answer.task_id, **to_prediction(target, answer.suggestion.caption, answer.suggestion.score, version)}
        for answer in answers
        if answer.suggestion is not None
    ]
    context.label_studio.import_predictions(project.label_studio_id, predictions)


def _drop_outdated(context: Context, tasks: Sequence[dict[str, Any]]) -> None:
    """Delete the suggestions that the tasks, as read before the push, already had, but for each task's newest.

    That one may be on somebody's screen: Label Studio refuses an annotation whose suggestion is gone.
    """
    for task in tasks:
        earlier = sorted(held["id"] for held in task["predictions"])
        for prediction_id in earlier[:-1]:
            context.label_studio.delete_prediction(prediction_id)


def _batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
