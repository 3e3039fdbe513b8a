"""`captionloop dataset`: the corrections as a dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from captionloop.backend.commands.shared import (
    SOME_FAILED,
    chosen_project,
    json_option,
    print_bad_row,
    print_result,
    project_option,
    reader_options,
    ready_context,
)
from captionloop.backend.terminal.output import print_line

if TYPE_CHECKING:
    from captionloop.jobs.context import Context
    from captionloop.model.captions.example import Example
    from captionloop.model.dataset.corrections import Snapshot
    from captionloop.model.exchange.export import Format
    from captionloop.model.exchange.reading import Format as ImportFormat
    from captionloop.model.exchange.reading import SplitName
    from captionloop.model.exchange.sidecar_export import SidecarResult

_MOST_BAD_ROWS_IN_JSON = 1000  # all of them are on standard error
_MOST_NUMBERS_SHOWN = 10  # of a list; --json has all


@click.group()
def dataset() -> None:
    """The corrections as a dataset: statistics, snapshots, import, export.

    \b
    Example:
        captionloop dataset export --format imagefolder --out my-captions
    """


_search_option = click.option(
    "--search", metavar="TEXT", default="", help="Only what has this text in a caption, ignoring case and accents."
)


@dataset.command("list")
@_search_option
@json_option
def list_snapshots(*, search: str, as_json: bool) -> None:
    """List the snapshots, which runs and `captionloop dataset snapshot` take.

    With --search, those with such a caption, and how many they have.

    \b
    Examples:
        captionloop dataset list
        captionloop dataset list --search café
    """
    from captionloop.model.dataset.corrections import read_snapshot

    with ready_context() as context:
        found: list[dict[str, Any]] = []
        for path in sorted(context.home.datasets.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
            snapshot = read_snapshot(path)
            examples = _containing(snapshot.examples, search)
            if search and not examples:
                continue
            images = {example.image for example in examples}
            made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            found.append(
                {
                    "snapshot": snapshot.hash,
                    "made": made.isoformat(timespec="seconds"),
                    "captions": len(examples),
                    "images": len(images),
                }
            )
    lines = [f"{row['snapshot'][:12]}  {row['made'][:16]}  {row['captions']:>6}  {row['images']:>6}" for row in found]
    print_result(found, as_json, "snapshot      made              captions  images", *lines)


@dataset.command()
@project_option
@json_option
def snapshot(*, project_id: int | None, as_json: bool) -> None:
    """Write the present corrections to an immutable file.

    \b
    Example:
        captionloop dataset snapshot
    """
    with ready_context() as context:
        made = _taken(context, None, project_id)
    shown = {"snapshot": made.hash, "captions": len(made.examples), "path": str(made.path)}
    print_result(shown, as_json, f"{made.hash[:12]}: {len(made.examples)} captions, in {made.path}")


@dataset.command()
@click.argument("name", metavar="HASH", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, help="Captions to show. Default: 20.")
@_search_option
@project_option
@json_option
def show(*, name: str | None, limit: int, search: str, project_id: int | None, as_json: bool) -> None:
    """Show the captions of a snapshot, or the corrections as they are now.

    \b
    Examples:
        captionloop dataset show 3f9a --limit 100
        captionloop dataset show --search café
    """
    with ready_context() as context:
        examples = _containing(_taken(context, name, project_id).examples, search)[:limit]
    rows = [{"correction": found.correction, "image": found.image, "caption": found.caption} for found in examples]
    print_result(rows, as_json, *(f"{row['correction']:>6}  {row['caption']}" for row in rows))


@dataset.command()
@project_option
@json_option
def stats(*, project_id: int | None, as_json: bool) -> None:
    """Show statistics of the corrections.

    \b
    Example:
        captionloop dataset stats
    """
    from functools import partial

    from captionloop.model.blip.checkpoint import load_tokenizer
    from captionloop.model.dataset.near_duplicates import settle_all
    from captionloop.model.dataset.stats import dataset_stats
    from captionloop.model.vocabulary.learnable import is_learnable

    with ready_context() as context:
        project = chosen_project(context, project_id)
        context.versions.ensure_champion(project.id, context.base)
        tokenizer = load_tokenizer(context.versions.champion(project.id).path)
        settle_all(context.database, context.home)
        with context.database.reading() as session:
            found = dataset_stats(session, project.id, can_be_written=partial(is_learnable, tokenizer))
    shown = asdict(found)
    print_result(
        shown,
        as_json,
        *(f"{name.replace('_', ' '):18} {_said(value)}" for name, value in shown.items()),
    )


@dataset.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["imagefolder", "jsonl", "csv", "coco", "sidecar", "webdataset"]),
    default="imagefolder",
    help="How captions are written beside the pictures. Default: imagefolder.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The directory to make. For sidecar it may be there, with the pictures or others in it.",
)
@click.option("--snapshot", "name", metavar="HASH", help="Default: the corrections as they are now.")
@click.option("--split", type=click.Choice(["all", "train", "held-out"]), default="all", help="Default: all.")
@click.option("--force", is_flag=True, help="With sidecar: write over texts that have other captions.")
@project_option
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    *,
    form: 'Format | Literal["sidecar"]',
    out: Path,
    name: str | None,
    split: "SplitName",
    force: bool,
    project_id: int | None,
    as_json: bool,
) -> None:
    """Export the corrections, pictures included, in a format that other tools read.

    With --format sidecar, pictures have the names that they had where they came from, with a .txt beside each. Texts
    that are there and have other captions are named on standard error and stay, and then the exit code is 6.

    \b
    Example:
        captionloop dataset export --format coco --out my-captions
        captionloop dataset export --format sidecar --out photos
    """
    from captionloop.model.exchange import export as dataset_export

    if force and form != "sidecar":
        raise click.UsageError("--force belongs to --format sidecar.")
    with ready_context() as context:
        taken = _taken(context, name, project_id)
        if form == "sidecar":
            done = _export_sidecars(context, taken, out, split, force=force)
        else:
            images = dataset_export.export(taken, context.home, out, form=form, split=split)
    shown: dict[str, Any] = {"snapshot": taken.hash, "path": str(out)}
    if form != "sidecar":
        text = f"{images} images of snapshot {taken.hash[:12]} are in {out}."
        print_result(shown | {"images": images}, as_json, text)
        return
    print_result(shown | asdict(done), as_json, *_said_of_sidecars(done, taken.hash, out))
    ctx.exit(SOME_FAILED if done.kept or done.failed else 0)


def _export_sidecars(
    context: "Context", taken: "Snapshot", out: Path, split: "SplitName", *, force: bool
) -> "SidecarResult":
    from captionloop.model.dataset.corrections import project_of
    from captionloop.model.dataset.picture_names import names_of
    from captionloop.model.exchange.export import chosen_captions, kind_of
    from captionloop.model.exchange.sidecar_export import SidecarExport

    captions = chosen_captions(taken, split)
    with context.database.reading() as session:
        project = project_of(session, taken.examples)
        names = names_of(session, project, captions) if project is not None else {}

    def tell(sentence: str) -> None:
        print_line(sentence, err=True)

    return SidecarExport(context.home, out, force=force, kind_of=kind_of, tell=tell).write(captions, names)


def _said_of_sidecars(done: "SidecarResult", digest: str, out: Path) -> Iterator[str]:
    yield (
        f"{done.images} images of snapshot {digest[:12]} are in {out}. Of their texts {done.new} are new, {done.known} "
        f"were there already, {done.replaced} were replaced, {done.kept} stay as they were."
    )
    if done.with_several:
        yield f"{done.with_several} images have several captions, one in each line: read them with --lines."


@dataset.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@reader_options("SOURCE")
@project_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    *,
    source: Path,
    images: Path | None,
    form: "ImportFormat | None",
    by_line: bool,
    split: "SplitName",
    limit: int | None,
    project_id: int | None,
    as_json: bool,
) -> None:
    """Add captions that were written elsewhere as corrections.

    SOURCE is a directory, or the file with the captions; or a directory in which each picture has a .txt or .caption
    beside it. Such a text is one caption, however many lines it has, unless --lines is given.

    Each bad row is reported on standard error, and then the exit code is 6; the others are stored. Existing captions
    are not added again, so an interrupted import continues when it is started again.

    \b
    Example:
        captionloop dataset import Flickr8k
        captionloop dataset import captions.txt --images Images
    """
    from captionloop.backend.terminal.progress import Progress
    from captionloop.model.exchange.importing import import_dataset
    from captionloop.model.exchange.reading import BadRow, find_source

    bad: list[dict[str, Any]] = []

    def note(row: BadRow) -> None:
        print_bad_row(row)
        if as_json and len(bad) < _MOST_BAD_ROWS_IN_JSON:
            place = row.place
            bad.append({"file": str(place.file), "line": place.line, "entry": place.entry, "reason": row.reason})

    found = find_source(source, images=images, form=form, by_line=by_line, split=split)
    with ready_context() as context, Progress("importing") as progress:
        result = import_dataset(
            found,
            chosen_project(context, project_id).id,
            database=context.database,
            home=context.home,
            limits=context.image_limits,
            limit=limit,
            on_bad=note,
            on_progress=progress.update,
        )
    shown = {"format": found.format, **asdict(result), "bad_rows": bad}
    text = f"{result.new} captions imported, {result.known} were there already, {result.bad} rows could not be used."
    print_result(shown, as_json, text)
    ctx.exit(SOME_FAILED if result.bad else 0)


def _taken(context: "Context", name: str | None, project_id: int | None) -> "Snapshot":
    """The snapshot of that hash, or a new one of the present corrections."""
    from captionloop.model.dataset import corrections
    from captionloop.model.exchange.evaluation_set import find_snapshot

    if name is not None:
        return find_snapshot(context.home, name)
    project = chosen_project(context, project_id)
    with context.database.session() as session:
        return corrections.snapshot(session, project.id, context.home)


def _containing(examples: "Sequence[Example]", text: str) -> "Sequence[Example]":
    """Those with a text in their caption, ignoring case and accents; all for an empty one."""
    from captionloop.model.captions.search import search_form

    form = search_form(text)
    return [example for example in examples if form in search_form(example.caption)]


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, list):
        return _counted(value)
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _counted(numbers: Sequence[int]) -> str:
    """The count, then the numbers, so that a single number is not taken for a count."""
    if not numbers:
        return "0"
    shown = ", ".join(map(str, numbers[:_MOST_NUMBERS_SHOWN]))
    more = f" and {len(numbers) - _MOST_NUMBERS_SHOWN:,} more" if len(numbers) > _MOST_NUMBERS_SHOWN else ""
    return f"{len(numbers):,} (number{'s' if len(numbers) > 1 else ''} {shown}{more})"
