"""`captionloop caption`: captions of image files, without any service."""

from collections.abc import Sequence
from pathlib import Path

import click

from captionloop.backend.commands.shared import json_option, model_option, print_result, read_settings


@click.command()
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

    captioned = caption_files(images, read_settings(model=model, precision=precision))
    lines = [f"{item['image']}: {item['caption']}  ({item['score']:.2f})" for item in captioned]
    print_result(captioned, as_json, "\n".join(lines))
