"""The command line: `captionloop COMMAND`. It puts the parts together, so it may import all of them, each when used.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 a service does not answer, 4 what was named is not there,
5 something else holds what is needed, 6 imported but for some bad rows, 130 interrupted.
"""

import json
import os
import select
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.backup import backup, restore
from captionloop.backend.commands.bench import bench
from captionloop.backend.commands.dataset import dataset
from captionloop.backend.commands.evaluation import evaluate, report
from captionloop.backend.commands.key import key_group
from captionloop.backend.commands.project import project_group
from captionloop.backend.commands.shared import chosen_project, json_option, project_option, ready_context
from captionloop.backend.commands.shared import print_result as _print
from captionloop.backend.commands.simulate import simulate
from captionloop.backend.commands.sweep import sweep
from captionloop.errors import CaptionloopError

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.settings import Settings

_INTERRUPTED = 130
_PORT = click.IntRange(1, 65535)
# Captions and pictures are people's own, also in files that libraries write and that programs started here do.
_OWNER_ALONE = 0o077


def _reader_has_gone() -> bool:
    output = select.poll()
    output.register(1, select.POLLERR)
    return bool(output.poll(0))


class _Commands(click.Group):
    """Commands in the order of the loop, as they are written below, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Click says nothing of a pipe that breaks, as if it were always that of a reader, such as `head`.

        Another one is a mistake of ours, so that it has a traceback.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if _reader_has_gone():
                raise
            raise RuntimeError("Something that this command was talking to has gone.") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks, and log everything.")
@click.version_option(package_name="captionloop", message="%(version)s")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """BLIP captions in Label Studio that get better with every correction.

    \b
    A newcomer needs one command:
        captionloop up
    """
    ctx.obj = {"debug": debug}
    os.umask(_OWNER_ALONE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one sentence on stderr, with the exit code of its kind."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(argv, prog_name="captionloop", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = _INTERRUPTED
    except CaptionloopError as error:
        if "--debug" in argv:
            raise
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


model_option = click.option(
    "--model", metavar="DIR|HUB_ID", help="The BLIP to start from. Default: CAPTIONLOOP_MODEL, else the starter model."
)


# What runs -----------------------------------------------------------------------------------------------------------


@cli.command()
@model_option
@click.option("--no-sample", is_flag=True, help="Make no sample project.")
@click.option("--port", type=_PORT, help="Port of the backend. Default: CAPTIONLOOP_PORT, else 9090.")
@click.option(
    "--label-studio-port", type=_PORT, help="Port of Label Studio. Default: CAPTIONLOOP_LABEL_STUDIO_PORT, else 8080."
)
def up(*, model: str | None, no_sample: bool, port: int | None, label_studio_port: int | None) -> None:
    """Start everything on this machine: Label Studio, Redis, the worker and the backend.

    What REDIS_URL or LABEL_STUDIO_URL name is used instead of being started. Ctrl-C ends all of it; a second time
    finds all data again.

    \b
    Example:
        captionloop up --model Salesforce/blip-image-captioning-base
    """
    from captionloop.backend.local.up import up as start_everything

    settings = _settings(model=model, port=port, label_studio_port=label_studio_port)
    _log_to_stderr(settings, level="warning")
    start_everything(settings, sample=not no_sample)


@cli.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often it trains.")
@click.option(
    "--per-round", type=click.IntRange(min=1), default=20, show_default=True, help="Captions before each run."
)
def demo(*, rounds: int, per_round: int) -> None:
    """Watch the loop turn for some minutes: `up`, and a scripted annotator at work in its sample project.

    It keeps its data apart, in `demo` in the home directory.

    \b
    Example:
        captionloop demo --rounds 3
    """
    from captionloop.backend.local.up import up as start_everything

    settings = _settings()
    _log_to_stderr(settings, level="warning")
    work = ["simulate", "--through-label-studio", "--rounds", str(rounds), "--per-round", str(per_round)]
    start_everything(replace(settings, home=settings.home / "demo"), beside=work)


@cli.command()
@click.option("--host", help="Address to listen on. Default: CAPTIONLOOP_HOST, else 127.0.0.1.")
@click.option("--port", type=_PORT, help="Port to listen on. Default: CAPTIONLOOP_PORT, else 9090.")
@model_option
def serve(*, host: str | None, port: int | None, model: str | None) -> None:
    """Run the backend alone.

    \b
    Example:
        REDIS_URL=redis://localhost:6379 captionloop serve --port 9090
    """
    from captionloop.backend.server.serve import serve as run_server
    from captionloop.threads import wait_briefly_before_sleeping

    wait_briefly_before_sleeping()

    context = _context(host=host, port=port, model=model)
    _log_to_stderr(context.settings)
    run_server(context)


@cli.command()
def worker() -> None:
    """Run one worker, which fine-tunes, re-captions and syncs. Start more for more projects at a time.

    \b
    Example:
        REDIS_URL=redis://gpu-box:6379 captionloop worker
    """
    from captionloop.jobs.worker.rq_worker import work

    context = _context()
    _log_to_stderr(context.settings)
    context.database.migrate()
    work(context)


# The bridge to Label Studio ------------------------------------------------------------------------------------------


@cli.command()
@click.option("--project", "project_id", type=int, required=True, metavar="ID", help="Its number in Label Studio.")
@json_option
def connect(*, project_id: int, as_json: bool) -> None:
    """Attach the backend to a project of a Label Studio that already runs.

    LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say which one; the key may be a legacy token or a personal access token.

    \b
    Example:
        LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=… captionloop connect --project 3
    """
    from captionloop.backend.label_studio.supported_versions import UPGRADE, too_old
    from captionloop.backend.local.services import local_url
    from captionloop.backend.projects.connect import connect as attach

    with ready_context() as context:
        settings = context.settings
        # Before the attempt: what fails then may fail for this reason, and Label Studio names another.
        if said := too_old(context.label_studio.version()):
            click.echo(f"Warning: Label Studio {said}. {UPGRADE}", err=True)
        connection = attach(
            project_id,
            label_studio=context.label_studio,
            database=context.database,
            seal=context.seal,
            server=settings.server_name,
            backend_url=settings.backend_url or local_url(settings.port),
            user=settings.user,
            password=settings.password.reveal() if settings.password else None,
        )
        context.queue.request_sync(connection.project_row_id)  # what people annotated before teaches as well
    shown = {
        "project_id": connection.project_id,
        "title": connection.title,
        "ml_backend_id": connection.ml_backend_id,
        "webhook_id": connection.webhook_id,
    }
    _print(shown, as_json, f"Project {connection.project_id} ({connection.title}) is connected.")


@cli.command()
@project_option
@json_option
def doctor(*, project_id: int | None, as_json: bool) -> None:
    """Check every link of the chain, and say for each that is broken why, and what to do.

    \b
    Example:
        captionloop doctor --project 3
    """
    from captionloop.backend.health.doctor import examine

    checks = examine(_running_settings(), label_studio_id=project_id)
    if as_json:
        click.echo(json.dumps([check.to_dict() for check in checks], indent=2))
    else:
        for check in checks:
            click.echo(check.line())
    if not all(check.ok for check in checks):
        sys.exit(1)


@cli.command()
@project_option
@json_option
def sync(*, project_id: int | None, as_json: bool) -> None:
    """Fetch corrections from Label Studio, now.

    \b
    Example:
        captionloop sync --project 3
    """
    from captionloop.backend.terminal.progress import Progress
    from captionloop.jobs.project.sync import sync as sync_project

    with ready_context() as context, Progress("Reading annotations") as progress:
        result = sync_project(
            chosen_project(context, project_id).id,
            database=context.database,
            label_studio=context.label_studio,
            image_source=context.image_source,
            home=context.home,
            on_progress=progress.update,
        )
    said = (
        f"{result.new} new, {result.changed} changed, {result.removed} removed; {result.corrections} corrections. "
        f"{result.failed} images cannot be read."
    )
    _print(asdict(result), as_json, said)


# Learning ------------------------------------------------------------------------------------------------------------


@cli.command()
@project_option
@click.option("--wait", is_flag=True, help="Stay until the run is over, and show how far it is.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting other than its default, such as way=lora or steps=500; docs/training.md has all of them.",
)
@click.option(
    "--settings", "name", metavar="NAME", help="Settings that the project knows by a name, as a sweep leaves them."
)
@json_option
def finetune(*, project_id: int | None, wait: bool, pairs: Sequence[str], name: str | None, as_json: bool) -> None:
    """Start a fine-tuning run on the corrections of a project.

    At most one runs and one waits; a further request joins the one that waits.

    \b
    Example:
        captionloop finetune --wait --set way=lora --set steps=500
    """
    from captionloop.backend.commands.status_text import describe_run, watch_run
    from captionloop.model.database import RunKind, RunState
    from captionloop.model.training import named_settings
    from captionloop.model.training.settings import FinetuneSettings, read_pairs

    settings = read_pairs(pairs)
    FinetuneSettings.from_dict(settings)  # what is wrong is said now, not by the run
    with ready_context() as context:
        project = chosen_project(context, project_id)
        if name is not None:
            with context.database.reading() as session:
                named_settings.read(session, project.id, name)
            settings[named_settings.KEY] = name
        requested = context.queue.request(project.id, RunKind.FINETUNE, asked_by="command line", settings=settings)
        run = watch_run(context, requested.run.id) if wait else requested.run
    said = run.message or ("The run is queued." if requested.is_new else "A run that waits already takes this request.")
    _print(describe_run(run), as_json, f"{said} ({run.id})")
    if wait and run.state is not RunState.FINISHED:
        sys.exit(1)


@cli.command()
@project_option
@click.option("--only-missing", is_flag=True, help="Only tasks that have no suggestion at all.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many tasks. Default: all.")
@click.option("--wait", is_flag=True, help="Stay until the run is over, and show how far it is.")
@json_option
def annotate(*, project_id: int | None, only_missing: bool, limit: int | None, wait: bool, as_json: bool) -> None:
    """Caption the unlabelled tasks of a project that do not show the champion's suggestion yet.

    The worker does it, as after each promotion. A run whose worker is killed goes on where it was.

    \b
    Example:
        captionloop annotate --project 3 --only-missing --wait
    """
    from captionloop.backend.commands.status_text import describe_run, watch_run
    from captionloop.jobs.queue.annotate_settings import AnnotateSettings
    from captionloop.model.database import RunKind, RunState

    settings = AnnotateSettings(only_missing=only_missing, limit=limit).to_dict()
    with ready_context() as context:
        project = chosen_project(context, project_id)
        requested = context.queue.request(project.id, RunKind.ANNOTATE, asked_by="command line", settings=settings)
        run = watch_run(context, requested.run.id) if wait else requested.run
    _print(describe_run(run), as_json, f"{run.message or requested.outcome} ({run.id})")
    if wait and run.state is not RunState.FINISHED:
        sys.exit(1)


@cli.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@project_option
@json_option
def cancel(*, run_id: str | None, project_id: int | None, as_json: bool) -> None:
    """Cancel a run: the one named, else the one that the project is busy with. Nothing of it is kept.

    \b
    Example:
        captionloop cancel
    """
    from captionloop.backend.commands.status_text import describe_run
    from captionloop.errors import NotFoundError

    with ready_context() as context:
        if run_id is None:
            current = context.queue.runs.current(chosen_project(context, project_id).id)
            if current is None or current.state.is_over:
                raise NotFoundError("No run is going on.")
            run_id = current.id
        run = context.queue.runs.cancel(run_id)
    _print(describe_run(run), as_json, f"Run {run.id} is cancelled.")


@cli.command()
@project_option
@json_option
def versions(*, project_id: int | None, as_json: bool) -> None:
    """List the versions of a project's model.

    \b
    Example:
        captionloop versions --json
    """
    from captionloop.backend.commands.status_text import versions_table

    with ready_context() as context:
        rows = context.versions.all_of(chosen_project(context, project_id).id)
    _print([info.to_dict() for info in rows], as_json, versions_table(rows))


@cli.command()
@click.argument("version")
@project_option
@json_option
def promote(*, version: str, project_id: int | None, as_json: bool) -> None:
    """Make VERSION the champion of a project: it makes the suggestions from now on.

    \b
    Example:
        captionloop promote v3-9c41f2
    """
    from captionloop.jobs.project.promotion import promote as promote_version

    with ready_context() as context:
        project = chosen_project(context, project_id)
        promote_version(context, project, version, reason="promoted by hand")
    _print({"champion": version}, as_json, f"{version} is the champion.")


@cli.command()
@project_option
@json_option
def rollback(*, project_id: int | None, as_json: bool) -> None:
    """Make the version champion again that was it before.

    \b
    Example:
        captionloop rollback
    """
    from captionloop.jobs.project.promotion import rollback as roll_back

    with ready_context() as context:
        champion = roll_back(context, chosen_project(context, project_id))
    _print({"champion": champion}, as_json, f"{champion} is the champion again.")


# Looking -------------------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=click.Path(path_type=Path))
@model_option
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Default: CAPTIONLOOP_PRECISION, else auto."
)
@json_option
def caption(*, images: Sequence[Path], model: str | None, precision: str | None, as_json: bool) -> None:
    """Caption image files, without any service.

    \b
    Example:
        captionloop caption beach.jpg --model Salesforce/blip-image-captioning-base
    """
    from captionloop.backend.commands.caption_files import caption_files

    captioned = caption_files(images, _settings(model=model, precision=precision))
    lines = [f"{item['image']}: {item['caption']}  ({item['score']:.2f})" for item in captioned]
    _print(captioned, as_json, "\n".join(lines))


@cli.command()
@project_option
@json_option
def status(*, project_id: int | None, as_json: bool) -> None:
    """Say what runs, who is champion, and how far the present run is.

    \b
    Example:
        captionloop status --json
    """
    from captionloop.backend.commands.status_text import read_status, status_lines

    shown = read_status(_running_settings(), label_studio_id=project_id)
    _print(shown, as_json, "\n".join(status_lines(shown)))


cli.add_command(project_group)
cli.add_command(sweep)
cli.add_command(dataset)
cli.add_command(evaluate)
cli.add_command(report)
cli.add_command(simulate)
cli.add_command(backup)
cli.add_command(restore)
cli.add_command(bench)
cli.add_command(key_group)


# Shared by the commands ----------------------------------------------------------------------------------------------


def _settings(**given: Any) -> "Settings":
    from captionloop.settings import Settings

    return Settings.read(**given)


def _running_settings(**given: Any) -> "Settings":
    """The settings, completed with what a running `captionloop up` knows: addresses, tokens, passwords."""
    from captionloop.backend.local.services import complete

    return complete(_settings(**given))


def _context(**given: Any) -> "Context":
    from captionloop.jobs.context import Context

    return Context.open(_running_settings(**given))


def _log_to_stderr(settings: "Settings", *, level: str | None = None) -> None:
    from captionloop.logs import log_to_stderr

    debug = click.get_current_context().obj["debug"]
    log_to_stderr(level or settings.log_level, form=settings.log_format, debug=debug)
