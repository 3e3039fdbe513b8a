"""The serving models: loaded lazily, swapped while requests are served.

A swap loads the new champion beside the old one, captions a test picture, and then replaces one reference. Requests
with a lease finish on the old one. If the new one does not load, the old one keeps serving and `problem` says why;
loading is retried when its files change, and periodically.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.serving.batcher import Batcher, OnBatch, Retired
from captionloop.backend.serving.version_checks import Signature, signature_of
from captionloop.errors import CaptionloopError, CheckpointError, NotFoundError
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import require_files
from captionloop.model.versions.store import VersionInfo, VersionStore

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner

_log = logging.getLogger(__name__)

# Each loaded version takes memory; projects with the same version share the model.
_MAX_LOADED = 4
# Loading may also fail for lack of memory, without any change of files. Each retry reads all files, perhaps gigabytes.
_AGAIN_AFTER_S = 300.0


@dataclass(frozen=True)
class _Problem:
    """Why a champion does not serve, and the signature of its files at `tried_at`."""

    version: str
    reason: str
    files: Signature
    tried_at: float  # by time.monotonic()

    def may_be_over(self, path: Path) -> bool:
        return signature_of(path) != self.files or time.monotonic() - self.tried_at > _AGAIN_AFTER_S


class Champions:
    """For each project, the batcher of the version that serves it."""

    def __init__(
        self,
        versions: VersionStore,
        *,
        base: Base,
        load: Callable[[VersionInfo], "Captioner"],
        on_batch: OnBatch = lambda size, seconds: None,
        renews_bases: bool = False,
    ) -> None:
        """
        Args:
            base: the base of new projects.
            renews_bases: also of projects that serve another base, from the first time on that they are served here.
            load: verifies and loads a version; may take seconds.
            on_batch: called with each batch of any version.
        """
        self._versions = versions
        self._base = base
        self._load = load
        self._on_batch = on_batch
        self._renews_bases = renews_bases
        self._renewed: set[int] = set()  # projects; used while loading only
        self._warm = threading.Event()
        self._lock = threading.RLock()  # guards the two dictionaries
        self._loading = threading.Lock()  # one load at a time: two would fight for the same cores and memory
        self._serving: OrderedDict[int, Batcher] = OrderedDict()  # by project, least recently used first
        self._problems: dict[int, _Problem] = {}

    @contextmanager
    def lease(self, project_id: int) -> Iterator[Batcher]:
        """The present batcher of a project; loads its champion if nothing is loaded yet.

        Raises:
            CaptionloopError: there is no champion, or it does not load.
        """
        with ExitStack() as stack:
            while True:
                try:
                    batcher = stack.enter_context(self._current(project_id).lease())
                    break
                except Retired:  # a swap came between the two calls
                    continue
            yield batcher

    def _current(self, project_id: int) -> Batcher:
        with self._lock:
            if (batcher := self._serving.get(project_id)) is not None:
                self._serving.move_to_end(project_id)
                return batcher
        return self._exchange(project_id)

    def warm_up(self, project_ids: Iterable[int]) -> None:
        """Preload the champions of these projects. A failure is raised again at the next request."""
        for project_id in project_ids:
            try:
                self._current(project_id)
            except CaptionloopError as error:
                _log.error("project %s is not served: %s", project_id, error)
        self._warm.set()

    @property
    def are_warm(self) -> bool:
        """Whether `warm_up` has finished."""
        return self._warm.is_set()

    def refresh(self, project_id: int) -> None:
        """Swap in a changed champion, if the project is served, or if its previous champion failed to load.

        A champion that failed to load is retried when its files have changed. Never raises: the old one stays.
        """
        with self._lock:
            serving, problem = self._serving.get(project_id), self._problems.get(project_id)
        tried = problem.version if problem else serving.version if serving else None
        if tried is None:
            return
        try:
            champion = self._versions.champion(project_id)
            if champion.version != tried or (problem is not None and problem.may_be_over(champion.path)):
                self._exchange(project_id)
        except CaptionloopError as error:
            _log.error("project %s keeps serving %s: %s", project_id, serving.version if serving else "nothing", error)

    def refresh_all(self) -> None:
        with self._lock:
            projects = [*self._serving, *(self._problems.keys() - self._serving.keys())]
        for project_id in projects:
            self.refresh(project_id)

    def version(self, project_id: int) -> str:
        """The version for `/setup`: the serving one, or the one that will be loaded at the first request.

        Returns at once, without loading anything.
        """
        with self._lock:
            serving = self._serving.get(project_id)
        if serving is not None:
            return serving.version
        try:
            return self._versions.champion(project_id).version
        except NotFoundError:
            return self._base.name

    def problem(self, project_id: int) -> str | None:
        """Why the champion does not serve, if so; another version may serve in its place."""
        with self._lock:
            problem = self._problems.get(project_id)
        return problem.reason if problem else None

    def why_unserved(self, project_id: int) -> str | None:
        """Why nothing can serve a project; None also if its champion is not loaded, but all its files are there."""
        with self._lock:
            if project_id in self._serving:
                return None
        return self.problem(project_id) or self._why_not_loadable(project_id)

    def _why_not_loadable(self, project_id: int) -> str | None:
        try:
            require_files(self._versions.champion(project_id).path)
        except NotFoundError:  # the first request gives it the base
            return None
        except CheckpointError as error:
            return str(error)
        return None

    def serving(self) -> Mapping[int, str]:
        """The version that is loaded here for each project that was asked for."""
        with self._lock:
            return {project_id: batcher.version for project_id, batcher in self._serving.items()}

    def waiting(self) -> int:
        """About how many pictures wait for the next batch, in all projects."""
        with self._lock:
            batchers = {id(batcher): batcher for batcher in self._serving.values()}
        return sum(batcher.waiting for batcher in batchers.values())

    def close(self) -> None:
        with self._lock:
            batchers = {id(batcher): batcher for batcher in self._serving.values()}
            self._serving.clear()
        for batcher in batchers.values():
            batcher.retire()
            batcher.join()

    def _exchange(self, project_id: int) -> Batcher:
        with self._loading:
            self._ensure_champion(project_id)
            champion = self._versions.champion(project_id)
            with self._lock:
                loaded = {batcher.version: batcher for batcher in self._serving.values()}
                current = self._serving.get(project_id)
            if current is not None and current.version == champion.version:
                with self._lock:
                    self._problems.pop(project_id, None)
                return current
            files = signature_of(champion.path)  # before loading, so that changes meanwhile cause a retry
            try:
                batcher = loaded.get(champion.version) or self._open(champion)
            except CaptionloopError as error:
                with self._lock:
                    self._problems[project_id] = _Problem(champion.version, str(error), files, time.monotonic())
                raise
            self._put(project_id, batcher)
            _log.info("project %s is served by %s", project_id, champion.version)
            return batcher

    def _ensure_champion(self, project_id: int) -> None:
        if self._renews_bases and project_id not in self._renewed:
            self._versions.start_from(project_id, self._base)
            self._renewed.add(project_id)
        self._versions.ensure_champion(project_id, self._base)

    def _open(self, champion: VersionInfo) -> Batcher:
        captioner = self._load(champion)
        _check(captioner)
        return Batcher(captioner, on_batch=self._on_batch)

    def _put(self, project_id: int, batcher: Batcher) -> None:
        with self._lock:
            before = {id(old): old for old in self._serving.values()}
            self._problems.pop(project_id, None)
            self._serving[project_id] = batcher
            self._serving.move_to_end(project_id)
            while len({id(kept) for kept in self._serving.values()}) > _MAX_LOADED:
                self._serving.popitem(last=False)
            still = {id(kept) for kept in self._serving.values()}
        for key, old in before.items():
            if key not in still:
                old.retire()


def _check(captioner: "Captioner") -> None:
    """Caption a grey square with a new model, which also warms it up.

    Raises:
        CheckpointError: it cannot.
    """
    from PIL import Image

    try:
        [suggestion] = captioner.caption([Image.new("RGB", (64, 64), "grey")])
    except (RuntimeError, ValueError, IndexError) as error:
        raise CheckpointError(f"Version {captioner.version} loads, but cannot caption a picture: {error}.") from error
    if not 0.0 <= suggestion.score <= 1.0:
        raise CheckpointError(
            f"Version {captioner.version} gives the score {suggestion.score}, which is no probability."
        )
