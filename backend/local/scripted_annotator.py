"""A scripted annotator for `captionloop demo`, which works through Label Studio's API.

It opens the next task that Label Studio serves, corrects the caption to a house style or accepts it, and presses Start
Training after every few tasks: in five minutes what a person would do in half an hour.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from captionloop.backend.label_studio.annotations import caption_item, prediction_captions
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.label_config import CaptionTarget, read_label_config
from captionloop.backend.local.sample import scene_of_task
from captionloop.errors import ServiceError
from captionloop.jobs.context import Context
from captionloop.model.database import Project, Run, RunKind, RunState
from captionloop.model.starter.scenes import Scene

_POLL_INTERVAL_S = 0.5
_READING_S = 0.5  # slow enough to be watched
_BEGINS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Round:
    """The result of a round.

    Args:
        number: from 1.
        version: of the suggestions.
        captioned: number of annotated tasks.
        kept: number of accepted suggestions.
        outcome: the run's message.
    """

    number: int
    version: str
    captioned: int
    kept: int
    outcome: str


def annotate_in_rounds(
    context: Context,
    project: Project,
    style: Callable[[Scene], str],
    *,
    rounds: int,
    per_round: int,
    tell: Callable[[Round], None],
) -> None:
    """Annotate and train, round by round.

    Args:
        project: the sample project, whose pictures are known.
        style: the caption that a scene should have.
        tell: called after each round.

    Raises:
        LabelStudioError: Label Studio does not answer or refuses.
        ServiceError: a run failed, or did not start.
    """
    label_studio, number = context.label_studio, project.label_studio_id
    target = read_label_config(label_studio.project(number)["label_config"])
    for round_number in range(1, rounds + 1):
        version = context.versions.champion(project.id).version
        kept = captioned = 0
        while captioned < per_round and (task := label_studio.next_task(number)):
            kept += _caption(label_studio, number, target, task, style)
            captioned += 1
        if not captioned:
            return
        run = _train(context, project)
        tell(Round(round_number, version, captioned, kept, run.message))


def _caption(
    label_studio: LabelStudio,
    project_id: int,
    target: CaptionTarget,
    task: dict[str, Any],
    style: Callable[[Scene], str],
) -> bool:
    """Annotate a task; whether its suggestion was accepted."""
    begun = time.monotonic()
    wanted = style(scene_of_task(task["data"]))
    shown = max(task["predictions"], key=lambda prediction: int(prediction["id"]), default=None)
    is_right = shown is not None and prediction_captions(target, shown["result"]) == [wanted]
    time.sleep(_READING_S)
    origin = "manual" if shown is None else "prediction" if is_right else "prediction-changed"
    label_studio.create_annotation(
        project_id,
        int(task["id"]),
        result=[caption_item(target, wanted) | {"origin": origin}],
        lead_time=time.monotonic() - begun,
        parent_prediction=shown and shown["id"],
    )
    return is_right


def _train(context: Context, project: Project) -> Run:
    """Press Start Training, and wait until the run and the following captioning run are over."""
    runs = context.queue.runs
    before = {run.id for run in runs.latest(project.id, RunKind.FINETUNE, count=1)}
    assert project.ml_backend_id is not None  # it is connected
    context.label_studio.start_training(project.ml_backend_id)
    deadline = time.monotonic() + _BEGINS_WITHIN_S
    while not (new := [run for run in runs.latest(project.id, RunKind.FINETUNE, count=1) if run.id not in before]):
        if time.monotonic() > deadline:
            raise ServiceError("Start Training was pressed, but no run began; the backend's log says why.")
        time.sleep(_POLL_INTERVAL_S)
    while runs.unfinished(project.id):
        time.sleep(_POLL_INTERVAL_S)
    run = runs.get(new[0].id)
    assert run is not None
    if run.state is not RunState.FINISHED:
        raise ServiceError(f"The run {run.id} ended as {run.state.value}: {run.message}")
    return run
