"""`captionloop compare`: two models on the same pictures, without any project."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    images_option,
    json_option,
    lines_option,
    print_result,
    read_settings,
    rest_note,
)

if TYPE_CHECKING:
    from captionloop.model.exchange.reading import SplitName


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--dataset", required=True, metavar="DATA",
    help="Captioned pictures: a directory or file that `dataset import` reads, or a snapshot's hash.",
)  # fmt: skip
@images_option
@click.option(
    "--split", type=click.Choice(["held-out", "train", "all"]),
    help="Images of a dataset that is divided. Default: held-out, else all that neither model was trained on.",
)  # fmt: skip
@lines_option
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a page with the pictures and both captions as well, B's worst first.",
)  # fmt: skip
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    *,
    first: str,
    second: str,
    dataset: str,
    images: Path | None,
    split: "SplitName | None",
    by_line: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Let two models caption the same pictures, and compare both with what people wrote. Differences are B minus A.

    A and B are BLIP directories or hub ids, or "starter". No service is needed. Rows that cannot be used are named on
    standard error, and then the exit code is 6.

    \b
    Example:
        captionloop compare Salesforce/blip-image-captioning-base my-blip --dataset test/
        captionloop compare blip-a blip-b --dataset test/ --html comparison.html
    """
    from captionloop.backend.commands.evaluation_text import caption_set, figures_text
    from captionloop.backend.commands.models import open_dataset
    from captionloop.backend.python.comparing import compared, comparison_page
    from captionloop.backend.python.loading import load_captioner, named
    from captionloop.backend.terminal.files import write_text_file

    settings = read_settings()
    chosen = open_dataset(
        dataset, (first, second), settings, images=images, split=split, by_line=by_line,
        served=named(second, settings)[1].style,
    )  # fmt: skip
    limits = settings.image_limits

    def captions(source: str) -> tuple[str, dict[str, str]]:
        captioner = load_captioner(source, settings)  # one in memory at a time
        return captioner.version, caption_set(captioner, chosen, limits)

    found = compared(captions(first), captions(second), chosen)
    if html is not None:
        write_text_file(html, comparison_page(found, chosen, limits, dataset=dataset))
    count = len(found.comparison.images)
    data = {
        "first": found.first,
        "second": found.second,
        "dataset": dataset,
        "images": count,
        "figures": {name: figure.to_dict() for name, figure in found.comparison.figures.items()},
        "bad_rows": chosen.bad,
    }
    text = figures_text(found.comparison.figures, first=found.first, second=found.second, images=count)
    page = [f"The pictures and their captions are in {html}."] if html else []
    print_result(data, as_json, *text.split("\n"), *rest_note(chosen.bad), *page)
    ctx.exit(SOME_FAILED if chosen.bad else 0)
