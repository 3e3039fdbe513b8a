"""The backend process: builds the service and serves it until a signal comes."""

import logging
import resource
import signal
import threading
from collections.abc import Callable
from functools import partial

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.access.roles import Roles
from captionloop.backend.local.ports import listen
from captionloop.backend.page_data.room import Room
from captionloop.backend.projects.project_rows import Projects
from captionloop.backend.server.app import create_app
from captionloop.backend.server.large_bodies import may_send_much
from captionloop.backend.server.proxies import BehindProxies
from captionloop.backend.serving.caption_service import CaptionService
from captionloop.backend.serving.champions import Champions
from captionloop.backend.serving.prometheus import Metrics
from captionloop.errors import CaptionloopError, ServiceError
from captionloop.jobs.context import Context
from captionloop.jobs.queue.presence import BACKEND, Presence
from captionloop.model.dataset.styles import current_style_id, project_styles
from captionloop.model.dataset.suggestion_log import SuggestionLog
from captionloop.model.evaluation.calibration import RecentChances

_log = logging.getLogger(__name__)

# For all but `/predict`. Label Studio waits only 1 s for the response to an annotation event.
_THREADS = 16
# How long a promotion may go unnoticed if Redis does not deliver its announcement.
_POLL_S = 15
_WATCHERS_STOP_WITHIN_S = 5
_OPEN_FILES = 4096


def serve(context: Context, *, migrates: bool = True, renews_bases: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; requests in progress are finished.

    Args:
        migrates: whether to migrate the database first; otherwise its schema must be the latest.
        renews_bases: projects that serve a base start from the one of these settings.

    Raises:
        BusyError, SettingsError, ServiceError: its address cannot be listened on, or the database cannot be used.
    """
    from captionloop.backend.server.graceful_server import GracefulServer

    settings = context.settings
    _allow_open_files()
    # First, so that a process that cannot start has changed nothing.
    listening = listen(settings.port, host=settings.host, variable="CAPTIONLOOP_PORT", purpose="the backend")
    context.database.migrate() if migrates else context.database.require_migrated()
    service = build_service(context, renews_bases=renews_bases)
    gatekeeper = Gatekeeper(
        settings.user,
        settings.password,
        reader_password=settings.reader_password,
        seal=context.seal,
        roles=Roles(leads=settings.leads, reviewers=settings.reviewers),
    )
    room = Room(context, service)
    app = create_app(service, gatekeeper, room)
    if settings.password is None:
        _log.warning("anyone who reaches port %s may ask: set CAPTIONLOOP_USER and CAPTIONLOOP_PASSWORD", settings.port)
    stop = service.stopping
    behind = BehindProxies(app, settings.trusted_proxies)
    server = GracefulServer(
        behind,
        listening=listening,
        threads=_THREADS,
        stop=stop,
        may_send_much=may_send_much(app, behind.seen_through),
    )
    warm_up = threading.Thread(target=_warm_up, args=(service, context), name="warm-up", daemon=True)
    watchers = [
        threading.Thread(target=_follow_announcements, args=(context, service, stop), name="follow", daemon=True),
        threading.Thread(target=_poll, args=(context, service, gatekeeper, stop), name="poll", daemon=True),
    ]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for thread in (warm_up, *watchers):
        thread.start()
    _log.info("listening on %s:%s", settings.host, settings.port)
    try:
        server.run()
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join(_WATCHERS_STOP_WITHIN_S)  # they use what is closed next
        room.close()
        service.close()
        context.close()


def build_service(context: Context, *, renews_bases: bool = False) -> CaptionService:
    """Build the service from a context; see `serve`."""
    metrics = Metrics()
    champions = Champions(
        context.versions, base=context.base, load=context.captioner, on_batch=metrics.batch, renews_bases=renews_bases
    )
    return CaptionService(
        projects=Projects(context.database, server=context.settings.server_name),
        versions=context.versions,
        champions=champions,
        suggestions=SuggestionLog(context.database),
        chances=RecentChances(context.database, current_style=current_style_id),
        styles=partial(project_styles, context.database),
        queue=context.queue,
        read_image=context.read_image,
        limits=context.image_limits,
        metrics=metrics,
    )


def _warm_up(service: CaptionService, context: Context) -> None:
    """Preload champions and calibrations of connected projects."""
    projects = [project.id for project in service.projects.connected()]
    service.champions.warm_up(projects)
    _say_other_bases(service, context)
    for project_id in projects:
        try:
            with service.champions.lease(project_id) as batcher:
                service.chances.of(project_id, batcher.version)
        except CaptionloopError as error:
            _log.error("project %s: %s", project_id, error)


def _say_other_bases(service: CaptionService, context: Context) -> None:
    for project in service.projects.connected():
        try:
            champion = context.versions.champion(project.id)
            is_other = champion.snapshot is None and not context.base.is_called(champion.version)
        except CaptionloopError:  # told of where captions are asked for
            continue
        if is_other:
            _log.warning(
                "project %s started from %s, not from the model, beams and prompt that are set here. "
                "`captionloop project start-from` changes that",
                project.label_studio_id,
                champion.version,
            )


def _follow_announcements(context: Context, service: CaptionService, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            for project_id in context.queue.champion_changes(stop):
                service.champions.refresh(project_id)
        except ServiceError as error:
            if not stop.is_set():  # when all is stopped, Redis may be the first to go
                _log.error("%s", error)
            stop.wait(_POLL_S)


def _poll(context: Context, service: CaptionService, gatekeeper: Gatekeeper, stop: threading.Event) -> None:
    """Poll for lost announcements, and restore what Redis has lost."""
    _learn_events(gatekeeper, service)
    this = Presence.of_this_process(BACKEND, context.settings)
    _say(context.queue.say_present, this)
    while not stop.wait(_POLL_S):
        _say(context.queue.say_present, this)
        service.champions.refresh_all()
        _learn_events(gatekeeper, service)
        try:
            context.queue.keep_moving()
        except ServiceError as error:
            _log.error("%s", error)
    _say(context.queue.say_absent, this)


def _say(what: Callable[[Presence], None], this: Presence) -> None:
    try:
        what(this)
    except ServiceError as error:
        _log.error("%s", error)


def _learn_events(gatekeeper: Gatekeeper, service: CaptionService) -> None:
    try:
        gatekeeper.learn_events(project.webhook_secret for project in service.projects.connected())
    except ServiceError as error:
        _log.error("%s", error)


def _allow_open_files() -> None:
    """Raise the limit of open files for connections and temporary files; some systems default to 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
