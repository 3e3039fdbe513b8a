"""`captionloop doctor`: checks every service, setting and version from Label Studio to the champion.

Checks form chains: after a failure the rest of its chain is skipped, and says so; chains run in parallel. Hanging
checks are abandoned after `_WITHIN_S`.
"""

import hmac
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import httpx

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.controls import (
    boxes_of,
    question_of,
    reading_target,
    take_label_config,
    target_of,
)
from captionloop.backend.label_studio.image_source import ImageSource
from captionloop.backend.label_studio.label_config import task_image
from captionloop.backend.label_studio.supported_versions import UPGRADE, too_old
from captionloop.backend.local import redis_server, services
from captionloop.backend.projects import webhook_secret
from captionloop.backend.projects.connect import WEBHOOK_ACTIONS
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.projects.webhook_secret import SECRET_HEADER
from captionloop.errors import CaptionloopError, LabelConfigError, LostKeyError, ServiceError
from captionloop.home import Home
from captionloop.jobs.queue.presence import differences
from captionloop.jobs.queue.redis_queue import Queue
from captionloop.jobs.queue.runs import Runs
from captionloop.jobs.queue.sweeps import Sweeps
from captionloop.jobs.queue.work import Work
from captionloop.model.database import Database, Project
from captionloop.model.dataset.images import open_image
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionStore
from captionloop.seal import Seal
from captionloop.settings import OLDEST_LABEL_STUDIO, Settings, without_password

# Mainly for the champion, whose weights are loaded at the first request after a start.
_WITHIN_S = 60.0
_TIMEOUT_S = 50.0
_IMAGES_TO_READ = 5
_WAITS_FOR = {Work.SYNC: "syncs", Work.CPU: "captioning runs", Work.GPU: "what computes with a model"}
NOT_LOOKED_AT = "not looked at"  # the message of a skipped check


@dataclass(frozen=True)
class Check:
    """One check: whether it passed, what was found, and the remedy if it failed."""

    name: str
    ok: bool
    message: str
    remedy: str = ""

    def line(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.name}: {self.message}" + (f" → {self.remedy}" if self.remedy else "")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Closable(Protocol):
    def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


class _BrokenError(CaptionloopError):
    """A failed check, with the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True)
class _Link:
    """A check to run: `probe` returns what it found, or raises a CaptionloopError."""

    name: str
    probe: Callable[[], str]
    remedy: str = ""
    leads_on: bool = False  # True: if it fails the rest of the chain is skipped


def examine(settings: Settings, *, label_studio_id: int | None = None, within_s: float = _WITHIN_S) -> list[Check]:
    """Run all checks.

    Args:
        settings: completed by a running `captionloop up`.
        label_studio_id: the project to check; by default the only connected one, else the sample one.
        within_s: checks without a result after this time count as broken, in seconds.
    """
    return Examination(settings, label_studio_id=label_studio_id).carry_out(within_s=within_s)


class Examination:
    """One run of all checks. Other threads can read what was found so far."""

    def __init__(self, settings: Settings, *, label_studio_id: int | None = None) -> None:
        """See `examine`."""
        self._opened = ExitStack()
        self._chains = _Patient(settings, label_studio_id, self._opened).chains()
        self._found: list[list[Check]] = [[] for _ in self._chains]

    def carry_out(self, *, within_s: float = _WITHIN_S) -> list[Check]:
        """Run the checks, once; see `examine`."""
        # Daemon threads, so that a hanging one does not keep the program from ending.
        threads = [
            threading.Thread(target=_follow, args=(chain, found), daemon=True)
            for chain, found in zip(self._chains, self._found, strict=True)
        ]
        with self._opened:
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + within_s
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            both = zip(self._chains, self._found, strict=True)
            return [check for chain, found in both for check in _complete(chain, found, within_s)]

    @property
    def checks(self) -> list[Check]:
        """The results so far, in display order."""
        return [check for found in self._found for check in list(found)]

    @property
    def missing(self) -> list[str]:
        """The names of the checks without a result so far."""
        both = zip(self._chains, self._found, strict=True)
        return [link.name for chain, found in both for link in chain[len(found) :]]


def _follow(chain: list[_Link], checks: list[Check]) -> None:
    for position, link in enumerate(chain):
        check = _checked(link)
        checks.append(check)
        if not check.ok and link.leads_on:
            behind = chain[position + 1 :]
            checks += [Check(other.name, False, NOT_LOOKED_AT, f"First: {link.name}.") for other in behind]
            return


def _checked(link: _Link) -> Check:
    try:
        return Check(link.name, True, link.probe())
    except _BrokenError as error:
        return Check(link.name, False, str(error), error.remedy)
    except CaptionloopError as error:
        return Check(link.name, False, str(error), link.remedy)
    except Exception as error:  # noqa: BLE001 (a doctor who falls ill himself still names the link)
        return Check(link.name, False, f"{type(error).__name__}: {error}", link.remedy)


def _complete(chain: list[_Link], checks: list[Check], within_s: float) -> list[Check]:
    """The checks of a chain, with a failed one for each that has no result."""
    done = list(checks)
    hanging = [
        Check(link.name, False, f"no answer within {within_s:.0f} s", link.remedy) for link in chain[len(done) :]
    ]
    return done + hanging


def _reattach(row: Project) -> str:
    return f"Attach it again: `captionloop connect --project {row.label_studio_id}`."


class _Patient:
    """The checks as methods; `opened` closes what they open."""

    def __init__(self, settings: Settings, label_studio_id: int | None, opened: ExitStack) -> None:
        self._settings = settings
        self._label_studio_id = label_studio_id
        self._opened = opened
        self._home = Home(settings.home)
        self._backend_url = settings.backend_url or services.local_url(settings.port)

    def chains(self) -> list[list[_Link]]:
        """The chains of checks, in display order."""
        start = "Start it: `captionloop up`, or `captionloop worker` beside your own services."
        return [
            [
                _Link("Label Studio", self._label_studio_answers, leads_on=True),
                _Link("Label Studio's version", self._label_studio_version),
                _Link("token", self._token, self._token_remedy(), leads_on=True),
                _Link("project", self._project, "Connect one: `captionloop connect --project ID`.", leads_on=True),
                _Link("label config", self._label_config, "Change it in the project's settings, Labeling Interface."),
                _Link("backend attached", self._attached),
                _Link("webhook", self._webhook),
                _Link("images", self._images, "Open the task in Label Studio: where the image shows, try again."),
            ],
            [
                _Link(
                    "database",
                    self._database,
                    "Check CAPTIONLOOP_DATABASE_URL and CAPTIONLOOP_HOME.",
                    leads_on=True,
                ),
                _Link("versions", self._versions),
            ],
            [
                _Link(
                    "Redis",
                    self._redis,
                    "Start it (`captionloop up`), or set REDIS_URL to one that runs.",
                    leads_on=True,
                ),
                _Link("worker", self._worker, start),
                _Link("processes", self._processes),
            ],
            [
                _Link("backend", self._backend, "Start it: `captionloop up`, or `captionloop serve`.", leads_on=True),
                _Link("backend's password", self._backend_password, leads_on=True),
                _Link("champion", self._champion, "Serve another version: `captionloop rollback`."),
            ],
        ]

    # Label Studio ------------------------------------------------------------------------------------------------

    def _label_studio_answers(self) -> str:
        url = self._settings.label_studio_url
        if url is None:
            raise _BrokenError(
                "none is known", "Run `captionloop up`, or set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to use yours."
            )
        if self._settings.label_studio_api_key is None:
            raise _BrokenError(
                "LABEL_STUDIO_API_KEY is not set",
                f"Copy an access token from {url}/user/account and set it in the environment or in .env.",
            )
        version = self._label_studio().version()
        self._label_studio().check_address()
        return f"version {version} answers at {url}"

    def _label_studio_version(self) -> str:
        version = self._label_studio().version()
        if said := too_old(version):
            raise _BrokenError(said, UPGRADE)
        return f"{version} is not older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was tried with"

    def _token(self) -> str:
        return f"accepted, of {self._label_studio().who_am_i().get('email')}"

    def _token_remedy(self) -> str:
        if self._settings.server_name == "local":
            return f"End `captionloop up`, move {self._home.secrets} away, and start it again: it makes a new account."
        return (
            f"Copy a new access token from {self._settings.label_studio_url}/user/account into LABEL_STUDIO_API_KEY; "
            "a legacy one works only where the organization allows it."
        )

    def _project(self) -> str:
        row = self._row()
        found = self._label_studio().project(row.label_studio_id)
        return f"{row.label_studio_id} ({found['title']}), {found.get('task_number', 0)} tasks"

    def _label_config(self) -> str:
        row = self._row_with_label_config()
        if question := question_of(row):
            raise _BrokenError(question.found, question.remedy)
        target = target_of(row)
        others = ", ".join(repr(name) for name in boxes_of(row) if name != target.from_name)
        said = f"captions go to <TextArea name={target.from_name!r}>, images are in the field {target.image_field!r}"
        return said + (f"; other text boxes: {others}" if others else "")

    def _attached(self) -> str:
        row = self._row()
        found = self._label_studio().ml_backends(row.label_studio_id)
        ours = next((backend for backend in found if backend["id"] == row.ml_backend_id), None)
        if ours is None:
            raise _BrokenError("the project has no ML backend of ours", _reattach(row))
        if ours["url"].rstrip("/") != self._backend_url.rstrip("/"):
            raise _BrokenError(
                f"Label Studio looks for the backend at {ours['url']}, but it is at {self._backend_url}", _reattach(row)
            )
        if ours.get("state") != "CO":
            raise _BrokenError(
                f"Label Studio does not reach it at {ours['url']} ({ours.get('error_message') or 'no reason given'})",
                "Start the backend, and set CAPTIONLOOP_URL to an address that Label Studio's machine reaches.",
            )
        return f"as number {ours['id']}, at {ours['url']}"

    def _webhook(self) -> str:
        row = self._row()
        hooks = self._label_studio().webhooks(row.label_studio_id)
        ours = next((hook for hook in hooks if hook["id"] == row.webhook_id), None)
        if ours is None:
            raise _BrokenError(
                "the project has no webhook of ours, so corrections arrive only by `captionloop sync`", _reattach(row)
            )
        problem = self._problem_of(ours, row)
        if problem:
            raise _BrokenError(f"number {ours['id']} {problem}", _reattach(row))
        return f"number {ours['id']} is active and carries the secret"

    def _problem_of(self, hook: dict[str, Any], row: Project) -> str | None:
        if not hook["is_active"]:
            return "is switched off"
        if hook["url"] != f"{self._backend_url.rstrip('/')}/webhook":
            return f"goes to {hook['url']}, but the backend is at {self._backend_url}"
        try:
            expected = webhook_secret.read(row.webhook_secret, Seal(self._home, self._settings.key))
        except LostKeyError as error:
            return f"has a secret that cannot be read: {error}"
        given = str((hook.get("headers") or {}).get(SECRET_HEADER, ""))
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            return "does not carry the project's secret, so its events are refused"
        missing = set(WEBHOOK_ACTIONS) - set(hook.get("actions") or ())
        if missing and not hook.get("send_for_all_actions"):
            return f"does not tell of {', '.join(sorted(missing))}"
        return None

    def _images(self) -> str:
        target = reading_target(self._row_with_label_config())
        tasks = list(islice(self._label_studio().all_tasks(self._row().label_studio_id), _IMAGES_TO_READ))
        if not tasks:
            return "the project has no tasks yet"
        limits = self._settings.image_limits
        source = self._open(
            ImageSource(
                self._label_studio(),
                allowed=self._settings.image_hosts,
                max_bytes=limits.max_bytes,
                max_seconds=_TIMEOUT_S,
            )
        )
        for task in tasks:
            try:
                open_image(source.read(task_image(target, task.data), task_id=task.id), limits=limits)
            except CaptionloopError as error:
                raise ServiceError(f"task {task.id}: {error}") from error
        return f"the first {len(tasks)} can be read"

    # What is ours ------------------------------------------------------------------------------------------------

    def _database(self) -> str:
        database = self._open_database()
        database.check()
        return f"{database.shown_url} answers"

    def _redis(self) -> str:
        self._queue().check()
        url = self._settings.redis_url or ""
        embedded = "the embedded " if redis_server.is_embedded(url, self._home) else ""
        found = redis_server.version(url) or "one that does not tell its version"
        return f"{embedded}{found} answers at {without_password(url)}"

    def _worker(self) -> str:
        names = self._queue().workers()
        if not names:
            raise ServiceError("none listens, so nothing is fine-tuned, synced or re-captioned")
        if idle := [work for work in Work if not self._queue().workers([work])]:
            said = " and ".join(f"{_WAITS_FOR[work]} ({work})" for work in idle)
            raise _BrokenError(
                f"{len(names)} {'listens' if len(names) == 1 else 'listen'}, and none of them takes {said}",
                f"Start one with `captionloop worker --queues {','.join(idle)}`.",
            )
        return f"{len(names)} {'listens' if len(names) == 1 else 'listen'}"

    def _processes(self) -> str:
        there = self._queue().present()
        different = differences(there)
        for process in there:
            if process.id in different:
                said = ", ".join(f"{name} {value!r}" for name, value in different[process.id].items())
                raise _BrokenError(
                    f"the {process.kind} {process.id} differs from the others: {said}",
                    "Give all backends and workers the same release and settings.",
                )
        listed = (f"{process.kind} {process.id} ({process.release}, {process.computes_on})" for process in there)
        return "; ".join(listed) or "none says that it is there"

    def _backend(self) -> str:
        answer = self._ask_backend("GET", "/health")
        if answer.status_code != 200:
            raise ServiceError(f"answers {answer.status_code} at {self._backend_url}/health")
        if answer.json().get("model_class") != "Captionloop":
            raise _BrokenError(
                f"what answers at {self._backend_url} is not Captionloop",
                "End that program, or set CAPTIONLOOP_PORT to another port.",
            )
        return f"version {answer.json().get('version')} answers at {self._backend_url}"

    def _backend_password(self) -> str:
        answer = self._ask_backend("POST", "/job_status", json={"job": ""})
        if answer.status_code in {401, 403}:
            raise _BrokenError(
                "the backend refuses the user and password that are known here",
                "Give both the same CAPTIONLOOP_USER and CAPTIONLOOP_PASSWORD, and restart the backend.",
            )
        return "accepted" if self._settings.password else "none is asked for: whoever reaches the backend may use it"

    def _champion(self) -> str:
        row = self._row()
        champion = VersionStore(self._open_database(), self._home.versions).champion(row.id)
        body = {"project": str(row.label_studio_id), "label_config": row.label_config, "tasks": []}
        answer = self._ask_backend("POST", "/predict", json=body)
        if answer.status_code != 200:
            told = answer.json() if answer.headers.get("content-type") == "application/json" else {}
            if told.get("type") == LabelConfigError.__name__:
                raise _BrokenError(NOT_LOOKED_AT, "First: label config.")
            said = told.get("error")
            raise ServiceError(f"{champion.version} does not serve: {said or answer.status_code}")
        return f"{champion.version} serves"

    def _versions(self) -> str:
        """Checks the files of the champion and of the target of a rollback; checking all could take long."""
        row = self._row()
        store = VersionStore(self._open_database(), self._home.versions)
        names = [row.champion, store.rollback_target(row.id)]
        looked_at = [name for name in names if name is not None]
        for name in looked_at:
            verify_files(self._home.versions / name)
        return f"all files of {' and '.join(looked_at)} are whole" if looked_at else "none is needed yet"

    # Shared by the links -----------------------------------------------------------------------------------------

    def _row(self) -> Project:
        return Projects(self._open_database(), server=self._settings.server_name).choose(self._label_studio_id)

    def _row_with_label_config(self) -> Project:
        """The project's row updated with its present label config, without writing it."""
        row = self._row()
        with self._open_database().reading() as session:
            take_label_config(session, row, self._label_studio().project(row.label_studio_id)["label_config"])
        return row

    def _label_studio(self) -> LabelStudio:
        settings = self._settings
        assert settings.label_studio_url is not None  # the first link saw to both
        assert settings.label_studio_api_key is not None
        key = settings.label_studio_api_key.reveal()
        return self._open(
            LabelStudio(settings.label_studio_url, key, names=settings.label_studio_names, retry_delays_s=())
        )

    def _open_database(self) -> Database:
        return self._open(Database(self._settings.database_url or f"sqlite:///{self._home.database}"))

    def _queue(self) -> Queue:
        if self._settings.redis_url is None:
            raise ServiceError("none is known")
        database = self._open_database()
        return self._open(Queue(self._settings.redis_url, Runs(database), Sweeps(database, self._home.runs)))

    def _open(self, thing: _Opened) -> _Opened:
        return self._opened.enter_context(closing(thing))

    def _ask_backend(self, method: str, path: str, **request: Any) -> httpx.Response:
        settings = self._settings
        auth = (settings.user or "", settings.password.reveal()) if settings.password else None
        try:
            return httpx.request(
                method, f"{self._backend_url}{path}", auth=auth, timeout=_TIMEOUT_S, trust_env=False, **request
            )
        except httpx.TimeoutException as error:
            raise _BrokenError(
                f"no answer at {self._backend_url}{path} within {_TIMEOUT_S:.0f} s",
                f"It may still be loading its model: try again in a minute, or look into {self._home.logs}.",
            ) from error
        except httpx.HTTPError as error:
            raise ServiceError(f"no answer at {self._backend_url} ({error})") from error
