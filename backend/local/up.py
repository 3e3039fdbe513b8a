"""`captionloop up`: starts and stops everything on one machine.

Slow starts overlap: Label Studio starts first; Redis, the backend and the worker start meanwhile.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from captionloop.backend.folders.links import link_again
from captionloop.backend.folders.wanted import Wanted
from captionloop.backend.local import (
    label_studio_install,
    label_studio_server,
    label_studio_tables,
    redis_server,
    services,
)
from captionloop.backend.local.ports import LOOPBACK, require_free
from captionloop.backend.local.processes import Process, Program, Supervisor, signals_interrupt, sole_owner, wait_until
from captionloop.backend.local.screen import Screen, Step
from captionloop.errors import CaptionloopError, ServiceError, SettingsError, StorageError
from captionloop.home import Home, read_json, write_json
from captionloop.settings import Settings, without_password

if TYPE_CHECKING:
    from captionloop.jobs.context import Context

_STARTER_MODEL = "starter"
OWN_COMMAND = (sys.executable, "-c", "from captionloop.backend.cli import main; main()")
# On an idle machine it is seconds; what dies is noticed at once.
_READY_WITHIN_S = 600.0
_POLL_INTERVAL_S = 0.5
# For the backend to finish what it is answering, and the worker a sync.
_FINISHING_S = 30.0


def up(
    settings: Settings,
    *,
    sample: bool = True,
    folder: Wanted | None = None,
    screen: Screen | None = None,
    beside: Sequence[str] | None = None,
) -> None:
    """Start everything, print the next steps, and keep it running until Ctrl-C or SIGTERM.

    Args:
        sample: whether to create the sample project.
        folder: what else to create a project of.
        beside: a further `captionloop` command, started when everything is ready, which writes to our screen.

    Raises:
        BusyError: a port is taken, or another `up` runs in this home.
        ServiceError: something does not start; its log is named.
    """
    screen = screen or Screen()
    home = Home(settings.home)
    home.create()
    with contextlib.ExitStack() as stack:
        stack.enter_context(signals_interrupt())
        stack.enter_context(sole_owner(home))
        run = _Up(settings, home, screen)
        stack.callback(run.forget)
        stack.enter_context(run.supervisor)
        run.start(sample=sample, folder=folder)
        if beside is not None:
            stack.enter_context(_beside(beside, run.environment))
        with contextlib.suppress(KeyboardInterrupt):
            run.stay()
        screen.say(f"\nStopping. All data stays in {home.root}.")


class _Up:
    """One run of `up`."""

    def __init__(self, settings: Settings, home: Home, screen: Screen) -> None:
        self.home = home
        self.environment: dict[str, str] = {}  # of the programs that are our own
        self.supervisor = Supervisor(home.logs, say=screen.say)
        self._given = settings
        self._screen = screen
        self._began = time.monotonic()
        self._state: dict[str, Any] = read_json(home.services)

    def start(self, *, sample: bool, folder: Wanted | None) -> None:
        """Start everything, in the order of dependencies."""
        given = self._given
        self._check()
        account = services.ensure_secrets(self.home, key=given.key)
        self._note(
            pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            ready=False,
            label_studio_url=given.label_studio_url or services.local_url(given.label_studio_port),
            backend_url=given.backend_url or services.local_url(given.port),
        )
        settings = services.complete(given)
        redis = None if given.redis_url else self.supervisor.start(redis_server.program(self.home.redis_socket))
        label_studio = None if given.label_studio_url else self._start_label_studio(account)
        self._wait_for_redis(settings, redis)
        self.environment = dict(os.environ) | settings.as_environment() | {"PYTHONUNBUFFERED": "1"}
        backend = self.supervisor.start(_own_program("backend", "serve", "--renew-bases", environment=self.environment))
        worker = self.supervisor.start(_own_program("worker", "worker", environment=self.environment))
        self._note(processes={process.name: process.pid for process in self.supervisor.processes.values()})

        from captionloop.jobs.context import Context  # takes a second to import; the others are starting meanwhile

        context = Context.open(settings)
        try:
            context.database.migrate()
            self._wait_for_label_studio(context, label_studio)
            self._wait_for_backend(backend)
            self._wait_for_worker(context, worker)
            project_id = self._prepare_projects(context, sample=sample, folder=folder)
        finally:
            context.close()
        self._note(ready=True, processes={process.name: process.pid for process in self.supervisor.processes.values()})
        self._welcome(settings, account, project_id, is_sample=folder is None)

    def stay(self) -> None:
        """Supervise the processes, for ever."""
        while True:
            self.supervisor.look_after()
            time.sleep(_POLL_INTERVAL_S)

    def forget(self) -> None:
        """Record in the services file that nothing is running."""
        with contextlib.suppress(OSError, StorageError):
            self._note(ready=False, pid=None, processes={})

    # The steps ---------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        given = self._given
        if given.label_studio_url and given.label_studio_api_key is None:
            raise SettingsError(
                "LABEL_STUDIO_URL is set, so LABEL_STUDIO_API_KEY has to be as well: an access token of that "
                "Label Studio, from its page Account & Settings."
            )
        if not given.label_studio_url:
            require_free(given.label_studio_port, variable="CAPTIONLOOP_LABEL_STUDIO_PORT", purpose="Label Studio")
        require_free(given.port, variable="CAPTIONLOOP_PORT", purpose="the backend", host=given.host)
        if self._state.get("pid"):  # a proper end would have taken it out
            self._screen.say(
                "The last run did not end properly. Nothing of it runs any more; its data is used as it is."
            )

    def _start_label_studio(self, account: label_studio_server.Login) -> Process:
        cache, python = self._given.cache, self._given.label_studio_python
        if label_studio_install.is_installed(cache, python=python):
            command = label_studio_install.install(cache, progress=lambda _: None, python=python)
        else:
            with self._screen.step(
                "Installing Label Studio (once, a minute or more)", "Label Studio is installed"
            ) as step:
                command = label_studio_install.install(cache, progress=step.update, python=python)
        label_studio_tables.lay_out(self.home.label_studio)
        link_again(self.home)
        return self.supervisor.start(
            label_studio_server.program(
                command, data=self.home.label_studio, port=self._given.label_studio_port, login=account
            )
        )

    def _wait_for_redis(self, settings: Settings, own: Process | None) -> None:
        assert settings.redis_url is not None  # `complete` saw to it
        if own is not None:
            redis_server.wait_until_ready(settings.redis_url, meanwhile=own.require_running)
        elif not redis_server.answers(settings.redis_url):
            raise ServiceError(
                f"The Redis that REDIS_URL names does not answer at {without_password(settings.redis_url)}. "
                "Start it, or unset REDIS_URL to have one started here."
            )

    def _wait_for_label_studio(self, context: "Context", own: Process | None) -> None:
        if own is None:
            context.label_studio.version()  # its errors name the address, the proxy or the certificate that is wrong
            return
        url = context.settings.label_studio_url
        assert url is not None  # `complete` saw to it
        with self._screen.step("Starting Label Studio", "Label Studio runs") as step:
            label_studio_server.wait_until_ready(url, meanwhile=self._watching(step, own))

    def _wait_for_backend(self, backend: Process) -> None:
        host = LOOPBACK if self._given.host in {"0.0.0.0", "localhost"} else self._given.host  # noqa: S104
        url = f"http://{f'[{host}]' if ':' in host else host}:{self._given.port}/health"
        with self._screen.step("Starting the backend", "The backend runs") as step:
            self._until(lambda: _answers(url), self._watching(step, backend), "The backend")

    def _wait_for_worker(self, context: "Context", worker: Process) -> None:
        with self._screen.step("Starting the worker", "The worker runs") as step:
            self._until(lambda: bool(context.queue.workers()), self._watching(step, worker), "The worker")

    def _until(self, done: Callable[[], bool], meanwhile: Callable[[], None], what: str) -> None:
        too_late = f"{what} did not answer within {_READY_WITHIN_S:.0f} s; its log is in {self.home.logs}."
        wait_until(done, meanwhile=meanwhile, within_s=_READY_WITHIN_S, too_late=too_late)

    def _watching(self, step: Step, process: Process) -> Callable[[], None]:
        def meanwhile() -> None:
            process.require_running()
            step.update()

        return meanwhile

    def _prepare_projects(self, context: "Context", *, sample: bool, folder: Wanted | None) -> int | None:
        """The project's id in Label Studio, and every connected project attached at the present address."""
        from captionloop.backend.local.sample import ensure_sample

        project_id = None if folder is None else self._add_folder(context, folder)
        if sample:
            with self._screen.step("Preparing the sample project", "The sample project is there") as step:
                project_id = ensure_sample(
                    context.label_studio,
                    self.home,
                    server=context.settings.server_name,
                    progress=lambda share: step.update("drawing and uploading pictures", share=share),
                )
                services.attach(context, project_id, is_sample=True)
            self._caption(context, project_id)
        self._attach_again(context, besides=project_id)
        return project_id

    def _add_folder(self, context: "Context", folder: Wanted) -> int:
        """Make the project of a directory, or add what is new there; its suggestions are made while people work."""
        from captionloop.backend.folders.making import make_folder_project

        def progress(done: int, total: int, note: str) -> None:
            self.supervisor.look_after()
            step.update(note, share=done / total)

        with self._screen.step(f"Adding the pictures of {folder.images}", "The project is there") as step:
            made = make_folder_project(
                context,
                folder,
                connect=partial(services.attach, context),
                on_bad=lambda place, reason: self._screen.say(f"  {place}: {reason}"),
                on_place=lambda said: self._screen.say(f"  {said}"),
                on_progress=progress,
            )
            step.result = f": {made.new} pictures added, {made.known} were there already, {made.bad} cannot be used"
        if made.shows:
            self._screen.say(f"  {made.shows}")
        return made.project_id

    def _attach_again(self, context: "Context", *, besides: int | None) -> None:
        """Attach all projects again, since the port may have changed. A failure is not fatal."""
        from captionloop.backend.projects.project_rows import Projects

        for project in Projects(context.database, server=context.settings.server_name).connected():
            if project.label_studio_id != besides:
                try:
                    services.attach(context, project.label_studio_id)
                except CaptionloopError as error:
                    self._screen.say(f"Project {project.label_studio_id} ({project.title}) is not attached: {error}")

    def _caption(self, context: "Context", label_studio_id: int) -> None:
        """Enqueue the first captioning run of the sample; later versions renew suggestions at promotion."""
        from captionloop.backend.projects.project_rows import Projects
        from captionloop.model.database import RunKind, RunState

        project = Projects(context.database, server=context.settings.server_name).choose(label_studio_id)
        if _was_captioned(context, project.id):
            return
        with self._screen.step("Captioning the pictures", "The pictures have captions") as step:
            run = context.queue.request(project.id, RunKind.ANNOTATE, asked_by="captionloop up").run
            while not run.state.is_over:
                time.sleep(_POLL_INTERVAL_S / 2)
                self.supervisor.look_after()
                run = context.queue.runs.get(run.id) or run
                step.update(share=run.progress)
        if run.state is not RunState.FINISHED:
            self._screen.say(f"The pictures were not captioned: {run.message or run.state.value}")

    # Telling others ----------------------------------------------------------------------------------------------

    def _note(self, **facts: Any) -> None:
        self._state |= facts
        write_json(self.home.services, self._state)

    def _welcome(
        self, settings: Settings, account: label_studio_server.Login, project_id: int | None, *, is_sample: bool
    ) -> None:
        own = self._given.label_studio_url is None
        say = self._screen.say
        path = "" if project_id is None else f"/projects/{project_id}/data"
        say()
        say(f"  Captionloop is ready ({time.monotonic() - self._began:.0f} s). Open {settings.label_studio_url}{path}")
        if own:
            say(f"  E-mail {account.email}   Password {account.password.reveal()}")
        if settings.password is not None:
            say(f"  What people changed and whether it gets better: {settings.backend_url}")
            say(f"  User {settings.user}   Password {settings.password.reveal()}")
        say()
        say("  What to do now")
        if project_id is None:
            say("    1. Make a project with an Image and a TextArea, and run: captionloop connect --project ID")
        else:
            which = "the sample project" if is_sample else "the project"
            say(f"    1. Open a picture of {which}: the suggested caption is in your draft already.")
        say("    2. Change it with the pencil to how you would put it, submit, and do the same for 20 or more.")
        say("    3. Settings → Model → ⋯ → Start Training: a minute later the other captions follow your style.")
        say()
        if settings.model == _STARTER_MODEL:
            say("  This is the starter model, which knows only our drawn scenes. For photographs:")
            say("  captionloop up --model Salesforce/blip-image-captioning-base")
            say()
        say(f"  Ctrl-C ends everything. Data and logs: {self.home.root}")


def _own_program(name: str, *command: str, environment: dict[str, str]) -> Program:
    return Program(name, (*OWN_COMMAND, *command), environment, grace_s=_FINISHING_S)


@contextlib.contextmanager
def _beside(command: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    """A command of ours that may end before us, and ends with us."""
    with subprocess.Popen([*OWN_COMMAND, *command], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


def _was_captioned(context: "Context", project_id: int) -> bool:
    from sqlalchemy import exists, select

    from captionloop.model.database import Run, RunKind, RunState

    finished = (Run.project_id == project_id, Run.kind == RunKind.ANNOTATE, Run.state == RunState.FINISHED)
    with context.database.reading() as session:
        return bool(session.scalar(select(exists().where(*finished))))


def _answers(url: str) -> bool:
    """True when something answers there, even if it asks for a password first."""
    try:
        with urlopen(url, timeout=2):  # noqa: S310 (our own address)
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False
