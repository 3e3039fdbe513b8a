"""Label Studio's serving order, against that of our picks."""

from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice

import httpx

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.label_config import read_label_config
from captionloop.jobs.captioning.asking_order import AskingOrder, SuggestedTask
from captionloop.jobs.context import Context
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.active_learning.strategies import Pick, serving_order
from captionloop.model.database import Project
from captionloop.model.evaluation.calibration import chances
from tests.support.studio import annotate


def served(api: httpx.Client, number: int, count: int) -> list[int]:
    """The tasks that Label Studio serves one after the other to its only annotator, who solves each."""
    return served_in_turns([api], number, count)


def served_in_turns(people: Sequence[httpx.Client], number: int, count: int) -> list[int]:
    """The tasks that Label Studio serves to annotators who ask one after the other and solve each."""
    tasks = []
    for api in islice(cycle(people), count):
        task = api.get(f"/api/projects/{number}/next").raise_for_status().json()
        annotate(api, number, task, "by a person")
        tasks.append(int(task["id"]))
    return tasks


def expected(context: Context, project: Project, count: int) -> list[int]:
    """The next tasks by our own picks, after what the only annotator has solved."""
    label_studio, number = context.label_studio, project.label_studio_id
    solved = [task.id for task in label_studio.annotated_tasks(number)]
    counts = Counter(_cluster(task) for task in label_studio.tasks(number, solved))
    return [chosen.key for chosen in islice(serving_order(_picks(context, project), counts), count)]


def expected_in_turns(context: Context, project: Project, *, people: int, count: int) -> list[int]:
    """The same for annotators who take turns and have solved nothing yet."""
    left, tasks = _picks(context, project), []
    solved: list[Counter[int | None]] = [Counter() for _ in range(people)]
    for counts in islice(cycle(solved), count):
        chosen = next(serving_order(left, counts))
        left.remove(chosen)
        counts[chosen.cluster] += 1
        tasks.append(chosen.key)
    return tasks


def _picks(context: Context, project: Project) -> list[Pick]:
    label_studio, number = context.label_studio, project.label_studio_id
    captioner = context.champion_captioner(project.id)
    shown = {
        task["id"]: prediction
        for task in label_studio.unlabelled_tasks_with_results(number)
        for prediction in task["predictions"]
        if prediction["model_version"] == captioner.version
    }
    standing = [SuggestedTask(task, found["id"], found["score"], found["cluster"]) for task, found in shown.items()]
    target = read_label_config(label_studio.project(number)["label_config"])
    with context.database.reading() as session:
        chance = chances(session, project.id, captioner.version)
    return AskingOrder(context, project, settings_of(project), captioner, chance).picks(target, standing)


def _cluster(task: Json) -> int | None:
    """What a solved task counts for."""
    found = [prediction["cluster"] for prediction in task["predictions"] if prediction["cluster"] is not None]
    return max(found, default=None)
