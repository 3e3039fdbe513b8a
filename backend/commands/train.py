"""`captionloop train`: from a folder of captioned pictures to a model, without any service."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    json_option,
    log_to_stderr,
    model_option,
    print_result,
    read_settings,
    reader_options,
)

if TYPE_CHECKING:
    from captionloop.model.exchange.reading import Format, SplitName


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@model_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The directory to make. Default: the name of DATA and -blip, in the current directory.",
)  # fmt: skip
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="A setting other than its default, such as way=lora or steps=500; docs/training.md has all of them.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the training in --out that was stopped or killed.")
@reader_options("DATA")
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    *,
    data: Path,
    model: str | None,
    out: Path | None,
    pairs: Sequence[str],
    resume: bool,
    images: Path | None,
    form: "Format | None",
    by_line: bool,
    split: "SplitName",
    limit: int | None,
    as_json: bool,
) -> None:
    """Fine-tune a BLIP on a folder of captioned pictures, without any service.

    DATA is what `captionloop dataset import` reads: a file of captions, or a directory in which each picture has a .txt
    beside it. A fifth of the pictures is held out; on them the new model is compared with the one it was made from.

    Ctrl-C stops; the same command with --resume goes on, to the same weights. Rows that cannot be used are named on
    standard error, and then the exit code is 6.

    \b
    Example:
        captionloop train photos/ --model Salesforce/blip-image-captioning-base --out my-blip
        captionloop train photos/ --out my-blip --set way=lora --set steps=600
    """
    from captionloop.backend.commands.train_folder import Asked, default_out, result_data, result_lines, train_folder
    from captionloop.model.exchange.reading import find_source
    from captionloop.model.training.settings import FinetuneSettings, read_pairs

    settings = read_settings()
    log_to_stderr(settings, level="warning")
    asked = read_pairs(pairs)
    FinetuneSettings.from_dict(asked)  # fail before the dataset is read
    source = find_source(data, images=images, form=form, by_line=by_line, split=split)
    chosen = Asked(data, source, out or default_out(data), model, asked, resume=resume, limit=limit)
    result, bad = train_folder(chosen, settings)
    print_result(result_data(result, bad=bad), as_json, *result_lines(result, chosen))
    ctx.exit(SOME_FAILED if bad else 0)
