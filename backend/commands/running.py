"""`captionloop up`, `demo`, `serve`, `worker`: long-running commands."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captionloop.backend.commands.shared import (
    PORT,
    folder_options,
    language_option,
    log_to_stderr,
    model_option,
    open_context,
    read_settings,
    running_settings,
)

if TYPE_CHECKING:
    from captionloop.backend.folders.wanted import As
    from captionloop.jobs.queue.work import Work


_no_migrate_option = click.option(
    "--no-migrate",
    is_flag=True,
    help="Leave the database's schema as it is (`captionloop migrate` changes it), and end if it is not the latest.",
)


@click.command()
@model_option
@click.option("--no-sample", is_flag=True, help="Make no sample project.")
@click.option(
    "--images", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Make a project of the pictures in this directory, instead of the sample one; again: add what is new.",
)  # fmt: skip
@folder_options
@click.option("--port", type=PORT, help="Port of the backend. Default: CAPTIONLOOP_PORT, else 9090.")
@click.option(
    "--label-studio-port", type=PORT, help="Port of Label Studio. Default: CAPTIONLOOP_LABEL_STUDIO_PORT, else 8080."
)
def up(
    *,
    model: str | None,
    no_sample: bool,
    images: Path | None,
    captions: Path | None,
    captions_as: "As",
    control: str | None,
    by_line: bool,
    port: int | None,
    label_studio_port: int | None,
) -> None:
    """Start everything on this machine: Label Studio, Redis, the worker and the backend.

    If REDIS_URL or LABEL_STUDIO_URL is set, that one is used instead. Ctrl-C stops everything; starting again finds all
    data.

    \b
    Example:
        captionloop up --model Salesforce/blip-image-captioning-base
        captionloop up --images photos/
    """
    from captionloop.backend.folders.wanted import Wanted
    from captionloop.backend.local.up import up as start_everything

    if images is None and (captions or control or by_line):
        raise click.UsageError("--captions, --control and --lines belong to --images.")
    folder = None if images is None else Wanted(images, None, captions, captions_as, control, by_line)
    settings = read_settings(model=model, port=port, label_studio_port=label_studio_port)
    log_to_stderr(settings, level="warning")
    start_everything(settings, sample=not no_sample and folder is None, folder=folder)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often it trains.")
@click.option(
    "--per-round", type=click.IntRange(min=1), default=20, show_default=True, help="Captions before each run."
)
@language_option
def demo(*, rounds: int, per_round: int, language: str | None) -> None:
    """Watch the loop for some minutes: `up`, and a scripted annotator at work in its sample project.

    Its data is separate, in `demo` in the home directory, or in `demo/de` and the like.

    \b
    Example:
        captionloop demo --rounds 3
        captionloop demo --language de
    """
    from captionloop.backend.local.up import up as start_everything
    from captionloop.model.starter.languages import writer_in

    settings = read_settings()
    log_to_stderr(settings, level="warning")
    work = ["simulate", "--through-label-studio", "--rounds", str(rounds), "--per-round", str(per_round)]
    home = settings.home / "demo"
    if language is not None:
        writer_in(language)  # refused before anything starts
        work += ["--language", language]
        home /= language
    start_everything(replace(settings, home=home), beside=work)


@click.command()
@click.option("--host", help="Address to listen on. Default: CAPTIONLOOP_HOST, else 127.0.0.1.")
@click.option("--port", type=PORT, help="Port to listen on. Default: CAPTIONLOOP_PORT, else 9090.")
@model_option
@_no_migrate_option
@click.option(
    "--renew-bases", is_flag=True,
    help="Projects that serve a base start from the model and settings given here, as with `captionloop up`. "
    "Default: from those that they started from.",
)  # fmt: skip
def serve(*, host: str | None, port: int | None, model: str | None, no_migrate: bool, renew_bases: bool) -> None:
    """Run the backend alone.

    Several on one database may have different settings: what a project starts from changes on purpose only, by
    `captionloop project start-from`, or `--renew-bases`.

    \b
    Example:
        REDIS_URL=redis://localhost:6379 captionloop serve --port 9090
    """
    from captionloop.backend.server.serve import serve as run_server
    from captionloop.threads import wait_briefly_before_sleeping

    wait_briefly_before_sleeping()

    context = open_context(host=host, port=port, model=model)
    log_to_stderr(context.settings)
    run_server(context, migrates=not no_migrate, renews_bases=renew_bases)


def _kinds_of_work(ctx: click.Context, parameter: click.Parameter, value: str) -> "Sequence[Work]":
    from captionloop.jobs.queue.work import Work

    try:
        return [Work(name.strip()) for name in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected some of {', '.join(Work)}, with commas in between.") from error


@click.command()
@click.option(
    "--queues", "taken", default="sync,cpu,gpu", show_default=True, callback=_kinds_of_work, metavar="NAME,…",
    help="The kinds of work to take: `sync` reads annotations, `cpu` works on tasks, `gpu` computes with models.",
)  # fmt: skip
@click.option("--gpus", type=click.Choice(["all"]), help="Run a worker on each of this machine's GPUs.")
@click.option(
    "--metrics-port", type=PORT,
    help="Tell Prometheus of this worker at this port of CAPTIONLOOP_HOST.",
)  # fmt: skip
@_no_migrate_option
def worker(*, taken: "Sequence[Work]", gpus: str | None, metrics_port: int | None, no_migrate: bool) -> None:
    """Run one worker, which fine-tunes, re-captions and syncs. Start several to work on more projects at a time.

    \b
    Example:
        REDIS_URL=redis://gpu-box:6379 captionloop worker
        captionloop worker --queues sync,cpu
        captionloop worker --queues gpu --gpus all
    """
    if gpus is not None and metrics_port is not None:
        raise click.UsageError(
            "With --gpus all workers would want the same --metrics-port. Start one for each CUDA_VISIBLE_DEVICES."
        )
    if gpus is not None:
        _work_on_each_gpu(["--queues", ",".join(taken), *(["--no-migrate"] if no_migrate else [])])
        return
    from captionloop.jobs.worker.rq_worker import work

    context = open_context()
    log_to_stderr(context.settings)
    context.database.require_migrated() if no_migrate else context.database.migrate()
    work(context, taken, metrics_port=metrics_port)


def _work_on_each_gpu(options: Sequence[str]) -> None:
    """A worker per GPU, each in a process of its own with these options."""
    from captionloop.backend.local.up import OWN_COMMAND
    from captionloop.jobs.worker.per_gpu import plan, run_each

    settings = running_settings()
    log_to_stderr(settings)
    environments = plan({**os.environ, **settings.as_environment()})
    run_each([*OWN_COMMAND, "worker", *options], environments)
