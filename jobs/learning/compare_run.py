"""Comparison of any two versions: both caption the same held-out images, and the captions are stored.

The images are the held-out ones of the present corrections, without any that one of the versions, or one of its
ancestors, was trained on. By the split there are none of those, unless corrections were taken back.
"""

from collections.abc import Callable, Sequence
from functools import partial

from captionloop.batches import batches
from captionloop.errors import RunError
from captionloop.jobs.context import Context
from captionloop.jobs.queue.attempt import Attempt
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot, read_snapshot
from captionloop.model.dataset.styles import ProjectStyles
from captionloop.model.evaluation.comparison_file import read_comparison, write_comparison
from captionloop.model.finetuning.pictures import BATCH
from captionloop.model.finetuning.run_styles import writing_in
from captionloop.model.versions.store import VersionInfo


def run_compare(context: Context, attempt: Attempt) -> str:
    """Make the comparisons in `settings["pairs"]`, two versions each; existing ones are skipped.

    Returns:
        The outcome as a sentence.

    Raises:
        RunError: no image is held out.
        RunCancelled: the run was cancelled; the comparisons made until then stay.
        RunLost: another worker has taken over the run.
        NotFoundError: a version was deleted meanwhile.
        CheckpointError: a version does not load.
    """
    project = context.project(attempt.run.project_id)
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project.id, context.home)
    pairs: Sequence[Sequence[str]] = attempt.run.settings["pairs"]
    for place, (first, second) in enumerate(pairs):
        report = partial(_report, attempt, f"{first} and {second}", place / len(pairs), 1 / len(pairs))
        versions = [context.versions.get(project.id, name) for name in (first, second)]
        _compare(context, project.id, versions[0], versions[1], snapshot, report)
    made = ", ".join(f"{first} with {second}" for first, second in pairs)
    return f"Compared {made} on the held-out images."


def _report(attempt: Attempt, stage: str, begin: float, share: float, step: int, steps: int) -> None:
    attempt.report(begin + share * step / steps, stage=stage, step=step, steps=steps)


def _compare(
    context: Context,
    project_id: int,
    first: VersionInfo,
    second: VersionInfo,
    snapshot: Snapshot,
    report: Callable[[int, int], None],
) -> None:
    path = context.home.comparison(project_id, first.version, second.version)
    known = read_comparison(path)
    if known is not None and known.snapshot == snapshot.hash:
        return
    with context.database.reading() as session:
        style = snapshot.judged_in(ProjectStyles.of(session, project_id).current)
    references = snapshot.references(style)
    images = [image for image in _held_out(context, project_id, snapshot, first, second) if image in references]
    if not images:
        raise RunError("No image with captions in the current style is held out, so there is nothing to compare on.")
    written: list[dict[str, str]] = []
    for done, version in enumerate((first, second)):
        report(done * len(images), 2 * len(images))
        captioner = writing_in(context.captioner(version), style)  # one at a time, to save memory
        found: dict[str, str] = {}
        for batch in batches(images, BATCH):
            report(done * len(images) + len(found), 2 * len(images))
            found |= context.pictures.captions(captioner, batch)
        written.append(found)
    write_comparison(
        path,
        champion=first.version,
        references={image: references[image] for image in images},
        champion_captions=written[0],
        candidate_captions=written[1],
        corpus=references.values(),
        snapshot=snapshot.hash,
        style=None if snapshot.styles == (None,) else style or "",
    )


def _held_out(context: Context, project_id: int, snapshot: Snapshot, *versions: VersionInfo) -> Sequence[str]:
    held_out = snapshot.split().held_out
    trained_on = _trained_on(context, project_id, versions)
    images = [image for image in held_out if image not in trained_on]
    if not images:
        raise RunError("No image is held out, so there is nothing to compare on. Correct a few more captions first.")
    return images


def _trained_on(context: Context, project_id: int, versions: Sequence[VersionInfo]) -> set[str]:
    """The images that the versions and their ancestors were trained on, as far as snapshots exist."""
    known = {info.version: info for info in context.versions.all_of(project_id, with_deleted=True)}
    snapshots: set[str] = set()
    for version in versions:
        ancestor: VersionInfo | None = version
        while ancestor is not None:
            snapshots |= {ancestor.snapshot} if ancestor.snapshot else set()
            ancestor = known.get(ancestor.parent) if ancestor.parent else None
    images: set[str] = set()
    for snapshot in snapshots:
        path = context.home.datasets / f"{snapshot}.jsonl"
        images |= set(read_snapshot(path).split().train) if path.is_file() else set()
    return images
