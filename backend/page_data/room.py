"""What the pages work with: one object on top of the parts, so that a view never puts parts together itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.backend.health.checkups import Checkups
from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.backend.serving.loaded_versions import LoadedVersions
from captionloop.backend.serving.version_checks import VersionChecks
from captionloop.errors import LabelStudioError, NotFoundError
from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.jobs.project import promotion
from captionloop.jobs.project.change_settings import change_settings, choose_control
from captionloop.jobs.queue.runs import Requested, Runs
from captionloop.model.database import Database, NamedSettings, Project, Run, RunKind
from captionloop.model.dataset.near_duplicates import near_duplicates
from captionloop.model.dataset.problem_watch import PATIENCE_S, KnownProblems, ProblemWatch
from captionloop.model.training import named_settings
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionInfo, VersionStore
from captionloop.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from captionloop.model.captioning.captioner import Captioner

_RUNS_LOOKED_AT = 20
_COUNT_WITHIN_S = 2.0


@dataclass(frozen=True)
class Room:
    """The parts behind the pages. `context` and `service` belong to whoever made them.

    Args:
        patience_s: how long a page waits for what is found out beside its request.
    """

    context: Context
    service: CaptionService
    loaded: LoadedVersions = field(default_factory=LoadedVersions)  # beside the champions
    patience_s: float = PATIENCE_S

    @property
    def settings(self) -> Settings:
        return self.context.settings

    @property
    def home(self) -> Home:
        return self.context.home

    @property
    def database(self) -> Database:
        return self.context.database

    @property
    def versions(self) -> VersionStore:
        return self.context.versions

    @cached_property
    def checkups(self) -> Checkups:
        return Checkups(self.settings)

    @property
    def runs(self) -> Runs:
        return self.context.queue.runs

    @property
    def worker_log(self) -> Path:
        """Where the log of a worker lies that `captionloop up` started."""
        return self.home.logs / "worker.log"

    @property
    def projects(self) -> Projects:
        return self.service.projects

    def project(self, number: int) -> Project:
        """A connected project by its number in Label Studio.

        Raises:
            NotFoundError: it is not connected.
        """
        return self.projects.choose(number)

    def champion(self, project: Project) -> VersionInfo:
        """The version that serves a project; one that has none yet gets its base.

        Raises:
            CheckpointError: there is no BLIP at the base's source.
        """
        try:
            return self.versions.champion(project.id)
        except NotFoundError:
            self.versions.ensure_champion(project.id, self.context.base)
            return self.versions.champion(project.id)

    @contextmanager
    def captioner(self, project: Project, version: VersionInfo) -> "Iterator[Captioner]":
        """The model of a version: the one that serves, if it is that, else one that is loaded for the moment.

        Raises:
            CheckpointError: its files are damaged or gone.
        """
        with self.service.champions.lease(project.id) as serving:
            if serving.version == version.version:
                yield serving.captioner
                return
        with self.loaded.lease(version, self.context.captioner) as captioner:
            yield captioner

    def damage(self, versions: Sequence[VersionInfo]) -> Mapping[str, str]:
        """What is wrong with the files of those versions that are damaged, as far as it is known in this moment."""
        return self._version_checks.damage(versions, patience_s=self.patience_s)

    @cached_property
    def _version_checks(self) -> VersionChecks:
        return VersionChecks(verify_files)

    def problems_of_dataset(self, project: Project, *, patience_s: float | None = None) -> KnownProblems:
        """The problems of a project's dataset, as far as they are known after so many seconds.

        Args:
            patience_s: None: the room's.

        Raises:
            CheckpointError: the champion's tokenizer cannot be read.
        """
        champion = self.champion(project)
        return self._problem_watch.problems(
            project.id,
            vocabulary=champion.version,
            open_vocabulary=lambda: _learnable_with(self.context.tokenizer(champion)),
            patience_s=self.patience_s if patience_s is None else patience_s,
        )

    @cached_property
    def _problem_watch(self) -> ProblemWatch:
        return ProblemWatch(self.database, self.home, near_duplicates=near_duplicates)

    def promote(self, project: Project, version: str, *, by: str) -> None:
        """Make a version champion and tell everybody.

        Raises:
            NotFoundError: the project has no such version.
            CheckpointError: its files are damaged or gone.
        """
        promotion.promote(self.context, project, version, reason=f"promoted by {by}")

    def rollback(self, project: Project) -> str:
        """Go back to the champion before this one; gives its name.

        Raises:
            NotFoundError: there was none before.
            CheckpointError: the files of that one are damaged or gone.
        """
        return promotion.rollback(self.context, project)

    def start_run(
        self, project: Project, settings: Mapping[str, Any], *, by: str, named: str | None = None
    ) -> Requested:
        """Ask for a fine-tuning run.

        Args:
            settings: those that are not to have their defaults.
            named: the project's settings that the others are taken from.

        Raises:
            SettingsError: one of them is wrong, which is said now, not by the run.
            NotFoundError: the project knows no settings of that name.
            ServiceError: Redis does not answer.
        """
        FinetuneSettings.from_dict(settings)
        if named is not None:
            self.named_settings(project, named)
            settings = {**settings, named_settings.KEY: named}
        return self.context.queue.request(project.id, RunKind.FINETUNE, asked_by=by, settings=settings)

    def caption_project(self, project: Project, *, by: str) -> Requested:
        """Have the worker caption the unlabelled tasks that do not show the champion's suggestion.

        Raises:
            ServiceError: Redis does not answer. The run is kept and begins once it does.
        """
        return self.context.queue.request(project.id, RunKind.ANNOTATE, asked_by=by)

    def change_settings(self, project: Project, pairs: Iterable[str], *, by: str) -> None:
        """Change a project's settings; see `jobs.project.change_settings` for arguments and errors."""
        change_settings(self.context, project, pairs, by=by)

    def choose_control(self, project: Project, name: str) -> None:
        """Say which text box holds the captions; see `change_settings.choose_control` for errors."""
        choose_control(self.context, project, name)

    def start_again(self, project: Project, run: Run, *, by: str) -> Requested:
        """Ask for a run of the same kind with the same settings as one that is over.

        Raises:
            SettingsError: a setting is no longer what it was when that run was asked for.
            NotFoundError: the settings of a name that it was to have are gone.
            ServiceError: Redis does not answer.
        """
        if run.kind is RunKind.FINETUNE:
            settings = dict(run.settings)
            named = settings.pop(named_settings.KEY, None)
            return self.start_run(project, settings, by=by, named=named)
        return self.context.queue.request(project.id, run.kind, asked_by=by, settings=run.settings)

    def all_named_settings(self, project: Project) -> Sequence[NamedSettings]:
        """The settings that a project knows by a name, oldest first."""
        with self.database.reading() as session:
            return named_settings.all_of(session, project.id)

    def named_settings(self, project: Project, name: str) -> Mapping[str, Any]:
        """What a project's settings of a name say.

        Raises:
            NotFoundError: it knows none of that name.
        """
        with self.database.reading() as session:
            return named_settings.read(session, project.id, name)

    def run(self, project: Project, run_id: str) -> Run:
        """A run of this project.

        Raises:
            NotFoundError: the project has no such run.
        """
        run = self.runs.get(run_id)
        if run is None or run.project_id != project.id:
            raise NotFoundError(f"There is no run {run_id!r} in this project.")
        return run

    def cancel_run(self, project: Project, run_id: str) -> Run:
        """Cancel a run of this project; give it as it is then.

        Raises:
            NotFoundError: the project has no such run.
        """
        return self.runs.cancel(self.run(project, run_id).id)

    def request_comparison(self, project: Project, first: str, second: str, *, by: str) -> Run:
        """Have the worker compare two versions, the older one first; gives the run that will.

        Raises:
            ServiceError: Redis does not answer. The run is kept and begins once it does.
        """
        settings = {"pairs": [[first, second]]}
        return self.context.queue.request(project.id, RunKind.COMPARE, asked_by=by, settings=settings).run

    def comparison_run(self, project: Project, first: str, second: str) -> Run | None:
        """The newest run that compares these two versions, or did; None when none was asked for lately."""
        runs = self.runs.latest(project.id, RunKind.COMPARE, count=_RUNS_LOOKED_AT)
        return next((run for run in runs if [first, second] in run.settings["pairs"]), None)

    def unlabelled_tasks(self, project: Project) -> int | None:
        """How many tasks have no annotation, as Label Studio counts; None when it takes long or does not answer."""
        url, key = self.settings.label_studio_url, self.settings.label_studio_api_key
        if url is None or key is None:
            return None
        studio = LabelStudio(url, key.reveal(), retry_delays_s=())
        try:
            found = studio.project(project.label_studio_id, timeout_s=_COUNT_WITHIN_S)
            return max(int(found["task_number"]) - int(found["num_tasks_with_annotations"]), 0)
        except (LabelStudioError, KeyError):
            return None
        finally:
            studio.close()

    def close(self) -> None:
        """Stop what goes on beside the requests; to be called before the parts are closed."""
        self._problem_watch.close()

    def label_studio_project(self, project: Project) -> str:
        """Where people annotate: the project's task list in Label Studio."""
        return f"{self.settings.label_studio_url}/projects/{project.label_studio_id}/data"

    def label_studio_task(self, project: Project, task_id: int) -> str:
        """The very task in Label Studio."""
        return f"{self.label_studio_project(project)}?task={task_id}"


def _learnable_with(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], bool]:
    """Whether a run can teach a caption to the model that has this tokenizer."""
    from captionloop.model.vocabulary.learnable import is_learnable  # only now: transformers takes seconds to import

    return partial(is_learnable, tokenizer)
