"""Runs: unfinished and finished ones, and a form to start one with settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.runs import (
    losses_of,
    read_run,
    read_runs,
    runs_table,
    settings_used,
    worker_elsewhere,
)
from captionloop.backend.pages.access import visitor
from captionloop.backend.pages.arguments import number_in
from captionloop.backend.pages.blueprint import current_room, pages
from captionloop.backend.pages.charts import loss_chart
from captionloop.backend.pages.downloads import download
from captionloop.backend.pages.frame import render
from captionloop.backend.pages.live import Shown, streamed
from captionloop.errors import SettingsError
from captionloop.model.database import Run, RunState
from captionloop.model.training import named_settings
from captionloop.model.training.settings_help import Setting, as_typed, described_settings, read_form

# Each setting in words, for the form and the page of a run; its name stands beside it there.
LABELS = {
    "way": "What is trained", "lora_rank": "Rank of the LoRA adapters", "lora_parts": "Where LoRA adapters are added",
    "learning_rate": "Learning rate", "schedule": "Rate schedule", "warmup_share": "Share of the steps for warm-up",
    "layer_decay": "Learning rate decay per layer", "steps": "Training steps", "batch_size": "Captions per step",
    "weight_decay": "Weight decay", "label_smoothing": "Label smoothing", "dropout": "Dropout",
    "max_gradient_norm": "Largest gradient norm", "ema": "Average of the weights (EMA decay)",
    "validation_share": "Share of images for validation", "patience": "Validations without progress before stopping",
    "replay": "Share of older corrections to repeat", "augment": "Vary the pictures (augmentation)",
    "prompt": "Prompt before each caption", "seed": "Random seed", "micro_batch_size": "Captions in memory at a time",
    "gradient_checkpointing": "Save memory (gradient checkpointing)",
}  # fmt: skip
_QUICK = ("way", "steps", "learning_rate")
_WAYS = {
    "decoder": "the text decoder, quickest", "lora": "small matrices beside the attention (LoRA)",
    "full": "everything, image encoder included",
}  # fmt: skip
_ENDS = tuple(state for state in RunState if state.is_over)


@dataclass(frozen=True)
class _Figure:
    """A main metric of a version; the report has all."""

    title: str
    how: str  # it is computed
    is_share: bool = False

    def shown(self, value: float, *, signed: bool = False) -> str:
        sign = "+" if signed else ""
        text = f"{value * 100:{sign}.0f}\u00a0%" if self.is_share else f"{value:{sign}.2f}"
        return text.replace("-", "−")


FIGURES = {
    "cider_d": _Figure("CIDEr-D", "agreement with what people wrote, rare words counting more; 0 to 10"),
    "bleu_4": _Figure("BLEU-4", "share of four-word sequences that people wrote as well; 0 to 1"),
    "exact_match": _Figure(
        "Exactly right", "share of held-out images whose caption is one that a person wrote", is_share=True
    ),
    "word_edit_rate": _Figure(
        "Words to change", "words that a person would have to change, per word of the person's caption", is_share=True
    ),
}


@pages.get("/projects/<int:number>/runs")
def runs(number: int) -> str | Response:
    """Running, waiting and past runs; `?format=` downloads the past ones."""
    room = current_room()
    project = room.project(number)
    state = _state(request.args.get("state"))
    everything = runs_table(room.runs.over(project.id, state=state)) if "format" in request.args else None
    if everything and (wanted := download(everything, request.args.get("format"), name=f"runs-of-project-{number}")):
        return wanted
    shown = read_runs(room, project, page=number_in(request.args, "page") or 1, state=state)
    return render(
        "runs.html",
        project,
        shown=shown,
        ends=_ENDS,
        curves=_curves(room, shown.unfinished),
        log_path=room.worker_log,
        elsewhere=worker_elsewhere,
    )


@pages.get("/projects/<int:number>/runs/live")
def runs_live(number: int) -> Response:
    """Server-sent events about the runs in `runs`: `run` when they change, `over` when one of them ends."""
    room = current_room()
    project = room.project(number)
    known = set(filter(None, request.args.get("runs", "").split(",")))

    def look() -> Shown | None:
        unfinished = room.runs.unfinished(project.id)
        if not unfinished or not known <= {run.id for run in unfinished}:
            return None
        facts = [(run.id, run.state, run.progress, run.detail, run.cancel_requested) for run in unfinished]

        def draw() -> str:
            return render_template("parts/runs_open.html", unfinished=unfinished, curves=_curves(room, unfinished))

        return Shown(facts, draw)

    return streamed(look)


@pages.route("/projects/<int:number>/runs/new", methods=["GET", "POST"])
def runs_new(number: int) -> str | tuple[str, int] | AnyResponse:
    """The form with every setting; errors are shown beside their fields, and the input is kept.

    `?settings=` names saved settings of the project, which replace the defaults.
    """
    room = current_room()
    project = room.project(number)
    groups = described_settings()
    name = request.values.get(named_settings.KEY) or None
    named = room.named_settings(project, name) if name else {}
    typed = {setting.name: request.form.get(setting.name, "") for group in groups for setting in group.settings}
    problems: dict[str, str] = {}
    if request.method == "POST":
        values, problems = read_form(typed)
        if not problems:
            flash(room.start_run(project, values, by=visitor().name, named=name).outcome)
            return redirect(url_for("pages.runs", number=number))
    page = render(
        "run_form.html",
        project,
        quick=[setting for group in groups for setting in group.settings if setting.name in _QUICK],
        expert=[(group.title, others) for group in groups if (others := _without_quick(group.settings))],
        is_expert=any(problems.get(name) or typed[name] for name in typed if name not in _QUICK),
        labels=LABELS,
        meanings={"way": _WAYS},
        typed=typed,
        problems=problems,
        champion=room.champion(project),
        all_named=room.all_named_settings(project),
        name=name,
        named={setting: as_typed(value) for setting, value in named.items() if value is not None},
    )
    return (page, 422) if problems else page


@pages.get("/projects/<int:number>/runs/<run_id>")
def runs_one(number: int, run_id: str) -> str:
    """One run: progress, loss, settings, what it ended with."""
    room = current_room()
    project = room.project(number)
    shown = read_run(room, project, run_id)
    return render(
        "run.html",
        project,
        shown=shown,
        curve=loss_chart(shown.losses, steps=shown.run.detail.get("steps")),
        settings=settings_used(described_settings(), shown),
        named=shown.asked.get(named_settings.KEY),
        figures=FIGURES,
        labels=LABELS,
        expected_log=room.worker_log,
    )


@pages.post("/projects/<int:number>/runs/<run_id>/retry")
def runs_retry(number: int, run_id: str) -> AnyResponse:
    """Start a run with the settings of a finished one."""
    room = current_room()
    project = room.project(number)
    run = room.run(project, run_id)
    if not run.state.is_over:
        raise BadRequest("This run is not over yet; there is nothing to try again.")
    flash(room.start_again(project, run, by=visitor().name).outcome)
    return redirect(url_for("pages.runs", number=number))


def _without_quick(settings: Sequence[Setting]) -> list[Setting]:
    return [setting for setting in settings if setting.name not in _QUICK]


def _curves(room: Room, unfinished: Sequence[Run]) -> Mapping[str, Any]:
    return {run.id: loss_chart(losses_of(room, run, None), steps=run.detail.get("steps")) for run in unfinished}


def _state(text: str | None) -> RunState | None:
    if not text:
        return None
    try:
        return RunState(text)
    except ValueError as error:
        raise SettingsError(
            f"There is no run state {text!r}; runs end as {', '.join(state.value for state in _ENDS)}."
        ) from error
