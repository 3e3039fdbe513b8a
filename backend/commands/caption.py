"""`captionloop caption`: captions of image files, without any service."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from captionloop.backend.commands.shared import SOME_FAILED, json_option, model_option, print_result, read_settings
from captionloop.backend.terminal.output import print_line
from captionloop.setting_fields import PrecisionSetting

if TYPE_CHECKING:
    from captionloop.backend.commands.caption_files import Model
    from captionloop.backend.commands.picture_files import BadFile, PictureFiles
    from captionloop.model.exchange.caption_output import Format


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="SOURCE…", type=click.Path(path_type=Path))
@model_option
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE|DIR", help="Where to write the captions.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "coco", "sidecar", "imagefolder"]),
    help="How to write them. Default: by the ending of --out (.jsonl, .csv, .json for coco).",
)  # fmt: skip
@click.option("--prompt", metavar="P", help="What the captions go on from. Default: the model's own, else none.")
@click.option(
    "--style", metavar="NAME",
    help='In which of its styles the model writes (docs/styles.md); "" is the one without a name. Default: its own.',
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write again what is in --out already.")
@click.option(
    "--precision", type=click.Choice(get_args(PrecisionSetting)), help="Default: CAPTIONLOOP_PRECISION, else auto."
)
@json_option
@click.pass_context
def caption(
    ctx: click.Context,
    *,
    images: Sequence[Path],
    model: str | None,
    out: Path | None,
    form: "Format | None",
    prompt: str | None,
    style: str | None,
    force: bool,
    precision: str | None,
    as_json: bool,
) -> None:
    """Caption image files, without any service.

    SOURCE is a picture, a directory (all pictures below it), or a pattern such as "photos/*.jpg". Files that cannot be
    read are reported on standard error, and then the exit code is 6; the others are captioned.

    With --out, what is there already is not made again: after an interruption the same command goes on.

    \b
    Example:
        captionloop caption beach.jpg --model Salesforce/blip-image-captioning-base
        captionloop caption holiday/ --model my-blip --out captions.jsonl
        captionloop caption holiday/ --model my-blip --out holiday/ --format sidecar
    """
    from captionloop.backend.commands.caption_files import Model
    from captionloop.backend.commands.picture_files import PictureFiles

    if out is None and (form is not None or force):
        raise click.UsageError("--format and --force belong to --out.")
    chosen = Model(read_settings(model=model, precision=precision), prompt, style)
    with closing(PictureFiles(images)) as files:
        bad = _show(files, chosen, as_json) if out is None else _write(files, chosen, out, form, force, as_json)
    ctx.exit(SOME_FAILED if bad else 0)


def _name(bad: "BadFile") -> None:
    print_line(f"{bad.image}: {bad.reason}", err=True)


def _show(files: "PictureFiles", model: "Model", as_json: bool) -> bool:
    from captionloop.backend.commands.caption_files import caption_files
    from captionloop.backend.commands.picture_files import BadFile

    found: list[dict[str, Any]] = []
    has_bad = False
    for item in caption_files(files, model):
        if isinstance(item, BadFile):
            has_bad = True
            _name(item)
        elif as_json:
            found.append(asdict(item))
        else:
            print_line(f"{item.image}: {item.caption}  ({item.score:.2f})")
    if as_json:
        print_result(found, as_json)
    return has_bad


def _write(files: "PictureFiles", model: "Model", out: Path, form: "Format | None", force: bool, as_json: bool) -> bool:
    from captionloop.backend.commands.caption_files import caption_into
    from captionloop.model.exchange.caption_output import format_of

    chosen = format_of(out, form)
    done = caption_into(files, model, out, chosen, force=force, on_bad=_name)
    text = f"{done.new} captions written to {out}, {done.known} were there already, {done.bad} files could not be used."
    print_result({"out": str(out), "format": chosen, **asdict(done)}, as_json, text)
    return bool(done.bad)
