"""`captionloop simulate`: active-learning experiments on labelled data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    json_option,
    language_option,
    print_bad_row,
    print_result,
    rest_note,
)
from captionloop.backend.terminal.output import print_line
from captionloop.backend.terminal.table import table

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.evaluation.gate import Rule
    from captionloop.model.metrics.estimate import Estimate
    from captionloop.model.simulation.rounds import Material, Point
    from captionloop.model.simulation.summary import Gain, Stage


@click.command()
@click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME",
    help="One of random, uncertainty, diversity, uncertainty_diversity; several are compared. Default: all.",
)  # fmt: skip
@click.option(
    "--through-label-studio", is_flag=True,
    help="Instead, correct the sample project's captions in the running Label Studio, and train after each round.",
)  # fmt: skip
@language_option
@click.option("--rounds", type=click.IntRange(min=1), default=2, help="Each ends with a run. Default: 2.")
@click.option("--first", type=click.IntRange(min=2), default=20, help="Random corrections of round 1. Default: 20.")
@click.option("--per-round", type=click.IntRange(min=1), default=40, help="Corrections of a later round. Default: 40.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, help="How often all is repeated. Default: 5.")
@click.option("--random-share", type=float, default=0.1, help="Of random picks among the chosen ones. Default: 0.1.")
@click.option("--choose-first", is_flag=True, help="Let the strategies choose in round 1 as well.")
@click.option(
    "--signal", default="score", metavar="NAME",
    help="What uncertainty goes by: score, token_probability, caption_probability, entropy, disagreement, consensus or "
    "previous_version; see docs/active-learning.md. Default: score.",
)  # fmt: skip
@click.option(
    "--same-words", metavar="NAME", help="Also let random picks go on until they have as many words as this strategy's."
)
@click.option("--gate", help="The rule by which a version becomes champion. Default: every one does.")
@click.option(
    "--dataset", metavar="D",
    help="Replay this: a snapshot's hash, a directory with metadata.jsonl, or a file (with --images). "
    "Default: drawn scenes.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Where the pictures lie that the file --dataset names.",
)  # fmt: skip
@click.option(
    "--style", metavar="NAME",
    help='Of a snapshot with several styles replay this one; "" is the one without a name. Default: the model\'s own.',
)  # fmt: skip
@click.option("--easy", type=float, default=0.8, help="Share of easy scenes among the 400 drawn ones. Default: 0.8.")
@click.option("--model", metavar="DIR|HUB_ID", help="The BLIP to begin with. Default: CAPTIONLOOP_MODEL.")
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of the runs; see docs/training.md."
)
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into this file: .svg, .png or .pdf."
)
@json_option
@click.pass_context
def simulate(
    ctx: click.Context,
    *,
    strategies: Sequence[str],
    through_label_studio: bool,
    language: str | None,
    rounds: int,
    first: int,
    per_round: int,
    seeds: int,
    random_share: float,
    choose_first: bool,
    signal: str,
    same_words: str | None,
    gate: str | None,
    dataset: str | None,
    images: Path | None,
    style: str | None,
    easy: float,
    model: str | None,
    pairs: Sequence[str],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare active-learning strategies by replaying a labelled dataset as if a person corrected it.

    Without --dataset it is 400 drawn scenes, different for each seed, most of them easy and similar. Each result is
    printed on standard error as it comes. With the starter model a seed with all strategies takes some two minutes of
    one core. Rows of --dataset that cannot be used are named on standard error, and then the exit code is 6.

    \b
    Example:
        captionloop simulate --seeds 10 --same-words uncertainty --plot simulation.svg
        captionloop simulate --dataset 5f1c --strategy random --strategy uncertainty --rounds 4
        captionloop simulate --through-label-studio --rounds 5 --per-round 20
    """
    if through_label_studio:
        _work_in_label_studio(rounds, per_round, language)
        return
    if style is not None and dataset is None:
        raise click.UsageError("--style belongs to --dataset.")
    if language is not None:
        raise click.UsageError("--language belongs to --through-label-studio.")
    from captionloop.backend.drawing.plot_style import check_format
    from captionloop.backend.drawing.simulation_plot import plot_simulation
    from captionloop.model.active_learning.strategies import STRATEGIES
    from captionloop.model.simulation.rounds import Plan
    from captionloop.model.simulation.rounds import simulate as replay
    from captionloop.model.simulation.summary import gains, stages
    from captionloop.model.training.settings import FinetuneSettings, read_pairs

    if plot is not None:
        check_format(plot)
    base, materials, bad = _prepared(dataset, images, model, easy, style)
    plan = Plan(
        strategies=strategies or list(STRATEGIES),
        rounds=rounds,
        first=first,
        per_round=per_round,
        random_share=random_share,
        signal=signal,
        choose_first=choose_first,
        as_many_words_as=same_words,
        gate=cast("Rule | None", gate),
        settings=FinetuneSettings.from_dict({"prompt": base.generation.prompt, **read_pairs(pairs)}),
    )
    points = replay(base, materials, plan, seeds=range(seeds), on_point=_tell)
    found, gained = stages(points), gains(points)
    if plot is not None:
        plot_simulation(found, plot, title=f"{len({point.seed for point in points})} seeds, 95 % intervals")
    data = {
        "points": [asdict(point) for point in points],
        "stages": [_finite(asdict(stage)) for stage in found],
        "gains": [_finite(asdict(gain)) for gain in gained],
        "bad_rows": bad,
    }
    print_result(data, as_json, *simulation_text(found, gained).split("\n"), *rest_note(bad))
    ctx.exit(SOME_FAILED if bad else 0)


def _work_in_label_studio(rounds: int, per_round: int, language: str | None) -> None:
    from captionloop.backend.commands.shared import chosen_project, ready_context
    from captionloop.backend.local.sample import sample_project_id
    from captionloop.backend.local.scripted_annotator import Round, annotate_in_rounds
    from captionloop.model.starter.languages import writer_in
    from captionloop.model.starter.styles import new_words_and_order

    style = new_words_and_order if language is None else writer_in(language)
    into = "other words and order" if language is None else style.__name__.title()

    def tell(done: Round) -> None:
        print_line(
            f"Round {done.number}: {done.kept} of {done.captioned} captions by {done.version} were right as they were. "
            f"{done.outcome}"
        )

    with ready_context() as context:
        project = chosen_project(context, sample_project_id(context.home))
        print_line(
            f"A scripted annotator puts the captions of project {project.label_studio_id} into {into}: "
            f"{per_round} of them, then Start Training, {rounds} times."
        )
        annotate_in_rounds(context, project, style, rounds=rounds, per_round=per_round, tell=tell)
        print_line("The scripted annotator is done.")


def _prepared(
    dataset: str | None, images: Path | None, model: str | None, easy: float, style: str | None
) -> "tuple[Captioner, Callable[[int], Material], int]":
    """The model, what it works on, and how many rows of the dataset could not be used."""
    from captionloop.home import Home
    from captionloop.model.blip.generation_settings import GenerationSettings
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.exchange.evaluation_set import open_evaluation_set
    from captionloop.model.simulation.material import DrawnScenes, replayed
    from captionloop.model.versions.base import Base, name_and_generation
    from captionloop.settings import Settings

    settings = Settings.read(model=model)
    limits = settings.image_limits
    name, generation = name_and_generation(
        Base(settings.model, GenerationSettings(num_beams=settings.beams, prompt=settings.prompt))
    )
    chosen = (
        open_evaluation_set(
            dataset, home=Home(settings.home), limits=limits, on_bad=print_bad_row, images=images, split="all",
            style=style, served=generation.style,
        )
        if dataset
        else None
    )  # fmt: skip
    captioner = Captioner.load(
        settings.model, version=name, generation=generation, precision="fp32", device=settings.device
    )
    if chosen is None:
        return captioner, DrawnScenes(captioner, easy=easy), 0
    return captioner, replayed(chosen, captioner, limits=limits), chosen.bad


def simulation_text(stages: "Sequence[Stage]", gains: "Sequence[Gain]") -> str:
    """A line for each strategy and round, and the gains over random picks."""
    titles = ("strategy", "round", "corrections", "words", "unchanged", "CIDEr-D", "asked, unchanged")
    rows = [
        (
            stage.strategy,
            str(stage.round),
            f"{stage.corrections:.0f}",
            f"{stage.words:.0f}",
            _estimate(stage.unchanged, 3),
            _estimate(stage.cider_d, 2),
            _estimate(stage.asked_unchanged, 2) if stage.asked_unchanged else "",
        )
        for stage in stages
    ]
    lines = [
        f"{gain.strategy} minus {gain.against}: {gain.unchanged.value:+.3f} of the unseen captions left unchanged"
        + (
            f" (95 % interval {gain.unchanged.low:+.3f} to {gain.unchanged.high:+.3f})"
            if math.isfinite(gain.unchanged.low)
            else " (a single seed)"
        )
        for gain in gains
    ]
    return "\n".join([table(titles, rows), *lines])


def _estimate(found: "Estimate", digits: int) -> str:
    half = f" ± {found.high - found.value:.{digits}f}" if math.isfinite(found.high) else ""
    return f"{found.value:.{digits}f}{half}"


def _finite(value: Any) -> Any:
    """Infinite intervals as null, since JSON has no infinity."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _tell(point: "Point") -> None:
    if point.round:
        print_line(
            f"seed {point.seed}, {point.strategy}, round {point.round}: {point.corrections} corrections, "
            f"{point.words} words, unchanged {point.unchanged:.3f}, CIDEr-D {point.cider_d:.2f}",
            err=True,
        )
