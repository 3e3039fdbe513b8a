"""`captionloop dataset`: the corrections as a dataset."""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from captionloop.backend.commands_shared import chosen_project, json_option, print_result, project_option, ready_context

if TYPE_CHECKING:
    from captionloop.model.dataset_export import Format, SplitName


@click.group()
def dataset() -> None:
    """Look at the corrections as a dataset, freeze them, and take them elsewhere.

    \b
    Example:
        captionloop dataset export --format imagefolder --out my-captions
    """


@dataset.command("list")
@json_option
def list_snapshots(*, as_json: bool) -> None:
    """List the snapshots: one was made for each run, or by `captionloop dataset snapshot`.

    \b
    Example:
        captionloop dataset list
    """
    from captionloop.model.corrections import read_snapshot

    with ready_context() as context:
        found: list[dict[str, Any]] = []
        for path in sorted(context.home.datasets.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
            snapshot = read_snapshot(path)
            images = {example.image for example in snapshot.examples}
            made = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
            found.append(
                {
                    "snapshot": snapshot.hash,
                    "made": made.isoformat(timespec="seconds"),
                    "captions": len(snapshot.examples),
                    "images": len(images),
                }
            )
    lines = [f"{row['snapshot'][:12]}  {row['made'][:16]}  {row['captions']:>6}  {row['images']:>6}" for row in found]
    print_result(found, as_json, "\n".join(["snapshot      made              captions  images", *lines]))


@dataset.command()
@project_option
@json_option
def snapshot(*, project_id: int | None, as_json: bool) -> None:
    """Freeze the corrections as they are now, in a file that never changes.

    \b
    Example:
        captionloop dataset snapshot
    """
    from captionloop.model import corrections

    with ready_context() as context:
        project = chosen_project(context, project_id)
        with context.database.reading() as session:
            made = corrections.snapshot(session, project.id, context.home.datasets)
    shown = {"snapshot": made.hash, "captions": len(made.examples), "path": str(made.path)}
    print_result(shown, as_json, f"{made.hash[:12]}: {len(made.examples)} captions, in {made.path}")


@dataset.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["imagefolder", "jsonl", "csv", "coco"]),
    default="imagefolder",
    help="How captions are written beside the pictures. Default: imagefolder.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The directory to make.")
@click.option("--snapshot", "name", metavar="HASH", help="Default: the corrections as they are now.")
@click.option("--split", type=click.Choice(["all", "train", "held-out"]), default="all", help="Default: all.")
@project_option
@json_option
def export(
    *, form: "Format", out: Path, name: str | None, split: "SplitName", project_id: int | None, as_json: bool
) -> None:
    """Write the corrections, pictures included, as a dataset that other tools read.

    \b
    Example:
        captionloop dataset export --format coco --out my-captions
    """
    from captionloop.model import corrections, dataset_export
    from captionloop.model.evaluation_set import find_snapshot

    with ready_context() as context:
        if name is None:
            project = chosen_project(context, project_id)
            with context.database.reading() as session:
                taken = corrections.snapshot(session, project.id, context.home.datasets)
        else:
            taken = find_snapshot(context.home, name)
        images = dataset_export.export(taken, context.home, out, form=form, split=split)
    shown = {"snapshot": taken.hash, "images": images, "path": str(out)}
    print_result(shown, as_json, f"{images} images of snapshot {taken.hash[:12]} are in {out}.")
