"""`captionloop sweep`: search for good settings."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.shared import (
    chosen_project,
    json_option,
    print_result,
    project_option,
    ready_context,
)
from captionloop.backend.terminal.output import print_line, print_text
from captionloop.backend.terminal.table import table

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.model.database import Project, Sweep
    from captionloop.model.sweep.sweep_state import SweepState
    from captionloop.model.sweep.trials import Trial

_POLL_INTERVAL_S = 1.0

plot_option = click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into this file: .svg, .png or .pdf."
)


def _listed(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


@click.group(invoke_without_command=True)
@project_option
@click.option("--trials", type=click.IntRange(min=1), help="How many settings to try. Default: 16.")
@click.option("--ways", callback=_listed, metavar="A,B", help="Among decoder, lora and full. Default: decoder,lora.")
@click.option(
    "--schedules", callback=_listed, metavar="A,B",
    help="Among cosine, linear, constant and inverse_sqrt. Default: cosine,constant.",
)  # fmt: skip
@click.option(
    "--rates", nargs=2, type=float, metavar="LOW HIGH",
    help="The learning rates between which to search. Default: around the defaults of the ways.",
)  # fmt: skip
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="A setting that all trials share, such as steps=200; docs/training.md has all of them.",
)  # fmt: skip
@click.option("--name", help="Of the sweep, and of the settings that come out. Default: sweep-1, sweep-2, …")
@click.option("--wait", is_flag=True, help="Stay until it is over, and show how far it is. Ctrl-C does not end it.")
@plot_option
@json_option
@click.pass_context
def sweep(ctx: click.Context, /, **given: Any) -> None:
    """Search for good training settings on the project's corrections, and save the best under a name.

    Each trial is a job, so more workers (`captionloop worker`) finish earlier. A run that somebody requests meanwhile
    goes first.

    \b
    Example:
        captionloop sweep --trials 16 --wait --plot sweep.svg
        captionloop finetune --settings sweep-1
    """
    if ctx.invoked_subcommand is None:
        _start(**given)
    elif any(given.values()):
        raise click.UsageError(f"What is for `{ctx.invoked_subcommand}` goes behind it: see --help there.", ctx)


def _start(
    *,
    project_id: int | None,
    trials: int | None,
    ways: list[Any] | None,
    schedules: list[Any] | None,
    rates: tuple[float, float] | None,
    pairs: Sequence[str],
    name: str | None,
    wait: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    from captionloop.backend.drawing.plot_style import check_format
    from captionloop.backend.terminal.progress import Progress
    from captionloop.jobs.learning.start_sweep import DEFAULT_TRIALS, start_sweep
    from captionloop.model.database import RunState
    from captionloop.model.sweep.search_space import DEFAULT_SCHEDULES, DEFAULT_WAYS
    from captionloop.model.training.settings import read_pairs

    if plot is not None:
        if not wait:
            raise click.UsageError("--plot needs --wait; `captionloop sweep show --plot FILE` draws a sweep later.")
        check_format(plot)
    with ready_context() as context:
        with Progress("Reading annotations") as progress:
            started = start_sweep(
                context,
                chosen_project(context, project_id),
                asked_by="command line",
                name=name,
                trials=trials or DEFAULT_TRIALS,
                ways=ways or DEFAULT_WAYS,
                schedules=schedules or DEFAULT_SCHEDULES,
                rates=rates,
                settings=read_pairs(pairs),
                on_progress=progress.update,
            )
        if wait:
            shown = _watch(context, started)
        else:
            shown = context.queue.sweeps.state(started.id)
            workers = len(context.queue.workers())
    if plot is not None:
        _draw(shown, plot)
    if wait:
        print_result(shown.to_dict(), as_json, *sweep_text(shown).split("\n"))
        if shown.sweep.state is not RunState.FINISHED:
            sys.exit(1)
    else:
        said = (
            f"The sweep {started.name} has begun: {started.trials} trials, {workers} "
            f"{'worker' if workers == 1 else 'workers'}. `captionloop sweep show {started.name}` says how it stands."
        )
        print_result(shown.to_dict(), as_json, said)


@sweep.command()
@click.argument("name", required=False)
@project_option
@plot_option
@json_option
def show(*, name: str | None, project_id: int | None, plot: Path | None, as_json: bool) -> None:
    """Show the trials of a sweep, best first. Default: the newest sweep.

    \b
    Example:
        captionloop sweep show sweep-1 --plot sweep.png
    """
    with ready_context() as context:
        found = _chosen(context, chosen_project(context, project_id), name)
        shown = context.queue.sweeps.state(found.id)
    if plot is not None:
        _draw(shown, plot)
    print_result(shown.to_dict(), as_json, *sweep_text(shown).split("\n"))


@sweep.command("list")
@project_option
@json_option
def list_sweeps(*, project_id: int | None, as_json: bool) -> None:
    """List a project's sweeps and saved settings.

    \b
    Example:
        captionloop sweep list
    """
    from captionloop.model.training import named_settings

    with ready_context() as context:
        project = chosen_project(context, project_id)
        sweeps = context.queue.sweeps.all_of(project.id)
        with context.database.reading() as session:
            known = named_settings.all_of(session, project.id)
    data = {
        "sweeps": [
            {"name": row.name, "state": row.state.value, "trials": row.trials, "message": row.message} for row in sweeps
        ],
        "settings": [{"name": row.name, "settings": row.settings, "origin": row.origin} for row in known],
    }
    texts = [
        table(
            ["sweep", "state", "trials", "outcome"],
            [[row.name, row.state.value, str(row.trials), row.message] for row in sweeps],
        ),
        table(
            ["settings", "are", "from"],
            [
                [row.name, " ".join(f"{name}={_number(value)}" for name, value in row.settings.items()), row.origin]
                for row in known
            ],
        ),
    ]
    print_result(data, as_json, *"\n\n".join(texts).split("\n"))


@sweep.command()
@click.argument("name", required=False)
@project_option
@json_option
def cancel(*, name: str | None, project_id: int | None, as_json: bool) -> None:
    """End a sweep; the best settings found by then are kept. Default: the newest sweep.

    \b
    Example:
        captionloop sweep cancel sweep-1
    """
    with ready_context() as context:
        project = chosen_project(context, project_id)
        ended = context.queue.sweeps.cancel(project.id, _chosen(context, project, name).name)
    data = {"name": ended.name, "state": ended.state.value, "message": ended.message}
    print_result(data, as_json, f"The sweep {ended.name} is over. {ended.message}")


def sweep_text(shown: "SweepState") -> str:
    """A sweep as text: its outcome, and its trials, best first."""
    sweep, counts = shown.sweep, shown.counts
    begun = [trial for trial in shown.trials if trial.choice and not trial.is_repeated]
    titles = ["trial", "state", "way", "rate", "schedule", "score", "seconds", ""]
    tried = table(titles, [_row(trial) for trial in sorted(begun, key=_rank)]) if begun else ""
    outcome = sweep.message or "So far: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    kept = f"To train with it: captionloop finetune --settings {sweep.name}" if sweep.message and shown.best else ""
    head = f"Sweep {sweep.name} on snapshot {sweep.snapshot[:12]}, from {sweep.champion}: {sweep.state.value}"
    return "\n\n".join(part for part in (head, tried, outcome, kept) if part)


def _rank(trial: "Trial") -> tuple[bool, bool, float]:
    """Sort key: finished trials, then those with a validation, each with the best first."""
    score = trial.last_score
    return trial.score is None, score is None, -(score or 0.0)


def _row(trial: "Trial") -> list[str]:
    choice, score = trial.choice, "–"
    if trial.score is not None:
        score = f"{trial.score:.2f} ± {trial.standard_error or 0:.2f}"
    elif trial.last_score is not None:
        score = f"{trial.last_score:.2f} at {max(trial.validations)} %"
    return [
        str(trial.number),
        trial.state.value,
        str(choice.get("way", "")),
        _number(choice.get("learning_rate", "")),
        str(choice.get("schedule", "")),
        score,
        "–" if trial.seconds is None else f"{trial.seconds:.0f}",
        trial.reason or ("default" if trial.is_default else ""),
    ]


def _number(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _watch(context: "Context", sweep: "Sweep") -> "SweepState":
    """Show a sweep's progress until its end; on Ctrl-C say that it continues."""
    from captionloop.backend.terminal.progress import Progress

    try:
        with Progress("Sweep") as progress:
            while True:
                shown = context.queue.sweeps.state(sweep.id)
                if shown.sweep.state.is_over:
                    return shown
                counts, best = shown.counts, shown.best
                over = sum(trial.state.is_over and not trial.is_repeated for trial in shown.trials)
                note = ", ".join(f"{count} {state}" for state, count in counts.items())
                note += f", best {best.score:.2f}" if best else ""
                progress.update(over, sum(counts.values()), note)
                time.sleep(_POLL_INTERVAL_S)
    except KeyboardInterrupt:
        print_text(
            f"\nThe sweep {sweep.name} goes on. `captionloop sweep show {sweep.name}` says how it stands, "
            f"`captionloop sweep cancel {sweep.name}` ends it.",
            err=True,
        )
        raise


def _chosen(context: "Context", project: "Project", name: str | None) -> "Sweep":
    from captionloop.errors import NotFoundError

    if name is not None:
        return context.queue.sweeps.named(project.id, name)
    known = context.queue.sweeps.all_of(project.id)
    if not known:
        raise NotFoundError("This project has no sweep yet. Start one: `captionloop sweep`.")
    return known[-1]


def _draw(shown: "SweepState", path: Path) -> None:
    from captionloop.backend.drawing.sweep_plot import plot_sweep

    plot_sweep(shown, path)
    print_line(f"Drawn into {path}.", err=True)
