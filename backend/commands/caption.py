"""`captionloop caption`: captions of image files, without any service."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from captionloop.backend.commands.shared import SOME_FAILED, json_option, model_option, print_result, read_settings
from captionloop.backend.terminal.output import print_line


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="SOURCE…", type=click.Path(path_type=Path))
@model_option
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Default: CAPTIONLOOP_PRECISION, else auto."
)
@json_option
@click.pass_context
def caption(
    ctx: click.Context, *, images: Sequence[Path], model: str | None, precision: str | None, as_json: bool
) -> None:
    """Caption image files, without any service.

    SOURCE is a picture, a directory (all pictures below it), or a pattern such as "photos/*.jpg". Files that cannot be
    read are reported on standard error, and then the exit code is 6; the others are captioned.

    \b
    Example:
        captionloop caption beach.jpg --model Salesforce/blip-image-captioning-base
        captionloop caption holiday/ --json > captions.json
    """
    from captionloop.backend.commands.caption_files import BadFile, caption_files

    found: list[dict[str, Any]] = []
    has_bad = False
    for item in caption_files(images, read_settings(model=model, precision=precision)):
        if isinstance(item, BadFile):
            has_bad = True
            print_line(f"{item.image}: {item.reason}", err=True)
        elif as_json:
            found.append(asdict(item))
        else:
            print_line(f"{item.image}: {item.caption}  ({item.score:.2f})")
    if as_json:
        print_result(found, as_json, "")
    if has_bad:
        ctx.exit(SOME_FAILED)
