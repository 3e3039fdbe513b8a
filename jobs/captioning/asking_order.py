"""The annotation order in Label Studio, from a strategy's picks.

Label Studio's Uncertainty sampling uses `cluster` and `score` of predictions whose version is the project's
`model_version`, and so does a tab of the Data Manager sorted by score. With a version there, the suggestions of all
others are hidden, so it is set last, when every task has one of the champion, and removed as soon as there is another
champion: until the tasks are captioned again, Label Studio requests a suggestion for each task that is opened, and
serves them in random order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import BACKEND_TITLE
from captionloop.backend.label_studio.label_config import CaptionTarget
from captionloop.jobs.captioning.task_images import TaskImages
from captionloop.jobs.context import Context
from captionloop.model.active_learning.diversity import FloatArray, pooled
from captionloop.model.active_learning.project_settings import ProjectSettings, settings_of
from captionloop.model.active_learning.strategies import (
    STRATEGIES,
    Pick,
    Prospect,
    in_one_list,
    lanes_beside,
    pick,
    random,
    uncertainty_diversity,
)
from captionloop.model.active_learning.task_vectors import TaskVectors
from captionloop.model.database import Project
from captionloop.model.dataset.suggestion_log import SuggestionLog
from captionloop.model.evaluation.calibration import Chances

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

VIEW_TITLE = f"{BACKEND_TITLE}: most useful first"
_BY_SCORE, _AT_RANDOM = "Uncertainty sampling", "Uniform sampling"  # Label Studio's names
_BATCH = 32
_SAME_SCORE = 1e-6


@dataclass(frozen=True)
class SuggestedTask:
    """An unlabelled task with the champion's suggestion, and its present score and cluster."""

    task_id: int
    prediction_id: int
    score: float | None
    cluster: int | None


@dataclass(frozen=True)
class PredictionChange:
    """A change of a prediction."""

    prediction_id: int
    score: float
    cluster: int | None


class AskingOrder:
    """The annotation order of a project's unlabelled tasks.

    Args:
        captioner: the champion.
        chance: calibration of its scores.
    """

    def __init__(
        self,
        context: Context,
        project: Project,
        settings: ProjectSettings,
        captioner: "Captioner",
        chance: Chances,
    ) -> None:
        self._context, self._project, self._settings = context, project, settings
        self._captioner, self._chance = captioner, chance
        has_learnt = context.versions.get(project.id, captioner.version).parent is not None
        self._strategy = settings.strategy_of(has_learnt=has_learnt)
        self._features = TaskVectors(context.database, project.id)

    def changes(self, target: CaptionTarget, suggested: Sequence[SuggestedTask]) -> list[PredictionChange]:
        """The changes to make in Label Studio, in the annotation order.

        Raises:
            LabelStudioError: it does not answer.
        """
        shown = {task.task_id: task for task in suggested}
        return [
            PredictionChange(task.prediction_id, chosen.score, chosen.cluster)
            for chosen in self.picks(target, suggested)
            if _differs(task := shown[chosen.key], chosen)
        ]

    def picks(self, target: CaptionTarget, suggested: Sequence[SuggestedTask]) -> list[Pick]:
        """The strategy's picks of tasks whose image can be read.

        Raises:
            LabelStudioError: it does not answer.
        """
        vectors = self._vectors(target, [task.task_id for task in suggested])
        scores = SuggestionLog(self._context.database).scores(self._project.id, self._captioner.version, list(vectors))
        chances = {task_id: self._chance(score) for task_id, score in scores.items()}
        prospects = [
            # Scores in Label Studio are calibrated already.
            Prospect(task.task_id, chances.get(task.task_id, task.score or 0.0), vectors[task.task_id])
            for task in suggested
            if task.task_id in vectors
        ]
        share, seed = self._settings.random_share, self._project.id
        picks = pick(prospects, self._strategy, random_share=share, seed=seed)
        if self._settings.order == "view":
            return in_one_list(picks, random_share=share, seed=seed)
        if STRATEGIES[self._strategy] is not uncertainty_diversity:
            return picks
        found = {chosen.key: chosen.cluster for chosen in picks if not chosen.at_random and chosen.cluster is not None}
        settled = self._features.settle_clusters(self._captioner.encoder_hash, lanes_beside(share), found)
        return [
            Pick(chosen.key, chosen.score, settled.get(chosen.key, chosen.cluster), chosen.at_random)
            for chosen in picks
        ]

    def write(self, change: PredictionChange) -> None:
        """Make one of the changes."""
        self._context.label_studio.update_prediction(change.prediction_id, score=change.score, cluster=change.cluster)

    def serve(self) -> None:
        """Make Label Studio use this order; all changes must have been written.

        Does nothing if another order was chosen meanwhile.
        """
        project = self._context.project(self._project.id)
        if not settings_of(project).asks_like(self._settings):
            return
        label_studio, number = self._context.label_studio, project.label_studio_id
        wanted: Json = {"model_version": self._captioner.version}
        if self._settings.order == "view":
            _show_view(self._context, project)
        elif STRATEGIES[self._strategy] is random:
            wanted = {"sampling": _AT_RANDOM}
        else:
            wanted["sampling"] = _BY_SCORE
        if project.sampling_before is None:
            _remember_sampling(self._context, project, label_studio.project(number)["sampling"])
        label_studio.update_project(number, **wanted)

    def _vectors(self, target: CaptionTarget, task_ids: Sequence[int]) -> dict[int, FloatArray]:
        """The pooled encoder output of each task's image, without those that cannot be read."""
        encoder = self._captioner.encoder_hash
        known = self._features.read(encoder, task_ids)
        unknown = [task_id for task_id in task_ids if task_id not in known]
        for start in range(0, len(unknown), _BATCH):
            tasks = self._context.label_studio.tasks(self._project.label_studio_id, unknown[start : start + _BATCH])
            images = list(TaskImages(self._context, target, tasks, captioner=self._captioner))
            if images:
                hashes = [image.hash for image in images]
                encoded = self._captioner.encode([image.image for image in images], image_hashes=hashes)
                made = dict(zip((image.task_id for image in images), pooled(encoded), strict=True))
                self._features.keep(encoder, made)
                known |= made
        return known


def let_backend_answer(context: Context, project: Project, *, unless: str | None = None) -> None:
    """Reset the project's `model_version` to our title, so that Label Studio requests suggestions for opened tasks.

    Args:
        unless: a version that may stay.

    Raises:
        LabelStudioError: it refuses or does not answer.
    """
    found = context.label_studio.project(project.label_studio_id)
    title = BACKEND_TITLE if project.ml_backend_id is not None else ""
    if found["model_version"] not in {title, unless or title} and project.sampling_before is not None:
        context.label_studio.update_project(project.label_studio_id, model_version=title)


def stop_asking_in_order(context: Context, project: Project) -> None:
    """Restore the project's own sampling, and remove our tab.

    Raises:
        LabelStudioError: it refuses or does not answer.
    """
    label_studio, number = context.label_studio, project.label_studio_id
    let_backend_answer(context, project)
    if project.sampling_before is not None:
        label_studio.update_project(number, sampling=project.sampling_before)
        _remember_sampling(context, project, None)
    for view in _our_views(context, project):
        label_studio.delete_view(number, view["id"])


def _remember_sampling(context: Context, project: Project, sampling: str | None) -> None:
    with context.database.session() as session:
        session.get_one(Project, project.id).sampling_before = sampling
    project.sampling_before = sampling


def _show_view(context: Context, project: Project) -> None:
    if _our_views(context, project):
        return
    data: Json = {
        "title": VIEW_TITLE,
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "filters": {
            "conjunction": "and",
            "items": [
                {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0},
                {"filter": "filter:tasks:total_predictions", "operator": "greater", "type": "Number", "value": 0},
            ],
        },
    }
    context.label_studio.create_view(project.label_studio_id, data)


def _our_views(context: Context, project: Project) -> list[Json]:
    views = context.label_studio.views(project.label_studio_id)
    return [view for view in views if view["data"].get("title") == VIEW_TITLE]


def _differs(task: SuggestedTask, chosen: Pick) -> bool:
    return task.score is None or abs(task.score - chosen.score) > _SAME_SCORE or task.cluster != chosen.cluster
