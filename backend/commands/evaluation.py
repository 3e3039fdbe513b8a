"""`captionloop evaluate` and `captionloop report`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    chosen_project,
    images_option,
    json_option,
    lines_option,
    print_result,
    project_option,
    read_settings,
    ready_context,
    rest_note,
)
from captionloop.backend.terminal.files import write_text_file
from captionloop.backend.terminal.output import print_line, print_text

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.exchange.evaluation_set import EvaluationSet
    from captionloop.model.exchange.reading import SplitName
    from captionloop.model.metrics import Evaluation

_File = click.Path(path_type=Path)


@click.command()
@click.option(
    "--references", type=_File, metavar="FILE",
    help="What people wrote: {image: [captions]}, COCO annotations, or a Karpathy split.",
)  # fmt: skip
@click.option("--captions", type=_File, metavar="FILE", help="What to score: {image: caption}, or COCO results.")
@click.option(
    "--version",
    metavar="V",
    help="Let this version caption --dataset: one of the project's, a BLIP directory, a hub id.",
)
@click.option(
    "--model", metavar="DIR|HUB_ID", help="Let this model caption --dataset; no project and no service is needed."
)
@click.option("--against", metavar="W", help="Compare with what this version writes; differences are V minus W.")
@click.option(
    "--dataset", metavar="D",
    help="The hash of a snapshot or its beginning, or a directory or file that `dataset import` reads.",
)  # fmt: skip
@images_option
@click.option(
    "--split", type=click.Choice(["held-out", "train", "all"]),
    help="Images of a snapshot, or of a dataset that is divided (held-out is its test). Default: held-out, else all.",
)  # fmt: skip
@lines_option
@click.option(
    "--style", metavar="NAME",
    help='Judge in this style (docs/styles.md); "" is the one without a name. Default: the one that V writes.',
)  # fmt: skip
@click.option("--meteor", is_flag=True, help="METEOR as well; it needs Java.")
@click.option("--per-image", type=_File, metavar="FILE", help="Write the figures of each image to this JSON file.")
@click.option("--coco-results", type=_File, metavar="FILE", help="Write the captions to this file, as COCO results.")
@project_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    *,
    references: Path | None,
    captions: Path | None,
    version: str | None,
    model: str | None,
    against: str | None,
    dataset: str | None,
    images: Path | None,
    split: "SplitName | None",
    by_line: bool,
    style: str | None,
    meteor: bool,
    per_image: Path | None,
    coco_results: Path | None,
    project_id: int | None,
    as_json: bool,
) -> None:
    """Score captions: those in a file, or those that a version writes for a dataset.

    BLEU, ROUGE-L and CIDEr-D are pycocoevalcap's. For a snapshot CIDEr-D uses document frequencies of all its captions,
    like the gate; for files those of the scored images' references, like papers. Of a snapshot with several styles the
    captions in one are what is compared with. A version that was not taught that style writes in its own.

    If --dataset has a .txt for each picture, its lines are one caption, unless --lines is given. Rows of it that cannot
    be used are named on standard error, and then the exit code is 6.

    \b
    Example:
        captionloop evaluate --references references.json --captions captions.json
        captionloop evaluate --version v4-9c41f2 --against v3-04d1aa --dataset 5f1c
        captionloop evaluate --model my-blip --dataset dataset_coco.json --images coco --coco-results test.json
    """
    if version and model:
        raise click.UsageError("Give --version or --model, not both.")
    version = version or model
    if references or captions:
        if not (references and captions) or version or against or dataset or images or style is not None:
            raise click.UsageError("Give --references with --captions, or --version or --model with --dataset.")
        from captionloop.model.exchange.references import read_captions, read_references

        written = read_captions(captions)
        evaluation = _evaluate(read_references(references, split=split), written, (), meteor=meteor)
        _write_files(evaluation, written, per_image=per_image, coco_results=coco_results)
        _print_evaluation({}, evaluation, as_json)
        return
    if not (version and dataset):
        raise click.UsageError("Give --references with --captions, or --version or --model with --dataset.")
    if against and meteor:
        raise click.UsageError("--meteor is not compared; leave it out, or leave --against out.")
    from captionloop.backend.commands.models import is_model, open_dataset

    if model and not is_model(model):
        raise click.UsageError(f"--model {model} is no directory and no hub id; --version names a project's version.")
    models = [name for name in (version, against) if name and is_model(name)]
    chosen = open_dataset(
        dataset, models, read_settings(), images=images, split=split, by_line=by_line, style=style,
        served=_served_style(version, project_id),
    )  # fmt: skip
    is_in_one = chosen.style is not None and chosen.style.is_chosen
    facts = {"version": version, "dataset": dataset, "split": split}
    facts |= {"style": chosen.style.name} if chosen.style and is_in_one else {}
    told = [f"In {chosen.style}."] if is_in_one else []
    written = _caption(version, project_id, chosen)
    other = _caption(against, project_id, chosen) if against else None
    if against is None or other is None:
        evaluation = _evaluate(chosen.references, written, chosen.corpus, meteor=meteor)
        _write_files(evaluation, written, per_image=per_image, coco_results=coco_results)
        _print_evaluation({**facts, "bad_rows": chosen.bad}, evaluation, as_json, *told)
        ctx.exit(SOME_FAILED if chosen.bad else 0)
    from captionloop.backend.commands.evaluation_text import differences_data, differences_text
    from captionloop.model.metrics import compare_figures

    found = compare_figures(chosen.references, other, written, corpus=chosen.corpus)
    _write_files(found.second, written, per_image=per_image, coco_results=coco_results)
    data = {
        **facts,
        "against": against,
        "images": found.second.images,
        "versions": {version: found.second.to_dict(), against: found.first.to_dict()},
        "differences": differences_data(found),
        "bad_rows": chosen.bad,
    }
    text = differences_text(found, first=against, second=version)
    print_result(data, as_json, *text.split("\n"), *told, *rest_note(chosen.bad))
    ctx.exit(SOME_FAILED if chosen.bad else 0)


@click.command()
@click.argument("version")
@click.option("--html", "as_html", is_flag=True, help="One HTML file that needs nothing else, pictures included.")
@click.option(
    "--out", type=_File, metavar="FILE",
    help="Where to write it. Default: standard output; HTML on a terminal goes to VERSION.html.",
)  # fmt: skip
@project_option
def report(*, version: str, as_html: bool, out: Path | None, project_id: int | None) -> None:
    """Show what VERSION changed, how it was trained, and what it writes for held-out images.

    \b
    Example:
        captionloop report v4-9c41f2
        captionloop report v4-9c41f2 --html --out report.html
    """
    from captionloop.backend.report_page import report_html, report_text
    from captionloop.model.dataset.styles import current_style_id
    from captionloop.model.evaluation.calibration import chances
    from captionloop.model.versions.report import read_report

    with ready_context() as context:
        project = chosen_project(context, project_id)
        info = context.versions.get(project.id, version)
        with context.database.reading() as session:
            style_id = current_style_id(session, project.id)
            known = chances(session, project.id, info.version, style_id=style_id)
        gathered = read_report(info, context.home, chances=known)
    text = report_html(gathered) if as_html else report_text(gathered) + "\n"
    if out is None and as_html and sys.stdout.isatty():
        out = Path(f"{version}.html")
    if out is None and as_html:
        click.echo(text, nl=False)  # into a file or another program
        return
    if out is None:
        print_text(text.removesuffix("\n"))
        return
    write_text_file(out, text)
    print_line(f"The report is in {out}.")


def _version_info(context: "Context", version: str, project_id: int | None) -> Any:
    return context.versions.get(chosen_project(context, project_id).id, version)


def _caption(version: str, project_id: int | None, chosen: "EvaluationSet") -> dict[str, str]:
    from captionloop.backend.commands.evaluation_text import caption_set

    return caption_set(_captioner(version, project_id), chosen, read_settings().image_limits)


def _captioner(version: str, project_id: int | None) -> "Captioner":
    """A version of the project; or, by a source's name, any BLIP with the settings of a base."""
    from captionloop.backend.commands.models import is_model
    from captionloop.backend.python.loading import load_captioner

    if is_model(version):
        return load_captioner(version, read_settings())
    with ready_context() as context:
        return context.captioner(_version_info(context, version, project_id))


def _served_style(version: str, project_id: int | None) -> str | None:
    """The style that a model writes."""
    from captionloop.backend.commands.models import is_model
    from captionloop.backend.python.loading import named

    if is_model(version):
        return named(version, read_settings())[1].style
    with ready_context() as context:
        return context.versions.get(chosen_project(context, project_id).id, version).generation.style


def _evaluate(references: Mapping[str, Any], captions: Mapping[str, str], corpus: Any, *, meteor: bool) -> "Evaluation":
    from captionloop.model.metrics import evaluate_captions

    return evaluate_captions(references, captions, corpus=corpus, meteor=meteor)


def _write_files(
    evaluation: "Evaluation", captions: Mapping[str, str], *, per_image: Path | None, coco_results: Path | None
) -> None:
    from captionloop.backend.commands.evaluation_text import per_image_data, write_coco_results, write_json_file

    if per_image is not None:
        write_json_file(per_image, per_image_data(evaluation, captions))
    if coco_results is not None:
        write_coco_results(coco_results, captions)


def _print_evaluation(facts: Mapping[str, Any], evaluation: "Evaluation", as_json: bool, *told: str) -> None:
    from captionloop.backend.commands.evaluation_text import evaluation_text

    figures, notes = evaluation.to_dict(), evaluation.notes
    data = {**facts, **figures} | ({"notes": notes} if notes else {})
    print_result(
        data, as_json, *evaluation_text(figures).split("\n"), *told, *notes, *rest_note(facts.get("bad_rows", 0))
    )
