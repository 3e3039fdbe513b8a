"""`captionloop finetune`, `annotate`, `cancel`: requesting and cancelling runs."""

import sys
from collections.abc import Sequence

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    chosen_project,
    json_option,
    print_result,
    project_option,
    ready_context,
)


@click.command()
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

    At most one run is active and one waits; a further request joins the waiting one.

    \b
    Example:
        captionloop finetune --wait --set way=lora --set steps=500
    """
    from captionloop.backend.commands.status_text import describe_run, watch_run
    from captionloop.model.database import RunKind, RunState
    from captionloop.model.training import named_settings
    from captionloop.model.training.settings import FinetuneSettings, read_pairs

    settings = read_pairs(pairs)
    FinetuneSettings.from_dict(settings)  # fail now instead of in the run
    with ready_context() as context:
        project = chosen_project(context, project_id)
        if name is not None:
            with context.database.reading() as session:
                named_settings.read(session, project.id, name)
            settings[named_settings.KEY] = name
        requested = context.queue.request(project.id, RunKind.FINETUNE, asked_by="command line", settings=settings)
        run = watch_run(context, requested.run.id) if wait else requested.run
    said = run.message or ("The run is queued." if requested.is_new else "A run that waits already takes this request.")
    print_result(describe_run(run), as_json, f"{said} ({run.id})")
    if wait and run.state is not RunState.FINISHED:
        sys.exit(1)


@click.command()
@project_option
@click.option("--only-missing", is_flag=True, help="Only tasks that have no suggestion at all.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many tasks. Default: all.")
@click.option("--wait", is_flag=True, help="Stay until the run is over, and show how far it is.")
@json_option
def annotate(*, project_id: int | None, only_missing: bool, limit: int | None, wait: bool, as_json: bool) -> None:
    """Caption the unlabelled tasks of a project that do not have the champion's suggestion yet.

    The worker does it, as after each promotion. A run whose worker is killed resumes. With --wait the exit code is 6 if
    some tasks could not be captioned.

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
    print_result(describe_run(run), as_json, f"{run.message or requested.outcome} ({run.id})")
    if wait and run.state is not RunState.FINISHED:
        sys.exit(1)
    if wait and run.detail.get("failed"):
        sys.exit(SOME_FAILED)


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@project_option
@json_option
def cancel(*, run_id: str | None, project_id: int | None, as_json: bool) -> None:
    """Cancel a run: the named one, else the project's present one. Nothing of it is kept.

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
    print_result(describe_run(run), as_json, f"Run {run.id} is cancelled.")
