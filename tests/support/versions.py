"""A project with a fine-tuned version as a run leaves it, made in a moment: the weights are the base's own."""

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import CorrectionState, Database, Project, VersionState, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord, Snapshot
from captionloop.model.dataset.split import split_images
from captionloop.model.evaluation.comparison_file import COMPARISON, write_comparison
from captionloop.model.evaluation.gate import judge
from captionloop.model.training.log import EVALUATIONS_FILE, STEPS_FILE
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import MANIFEST, Lineage
from captionloop.model.versions.store import VersionInfo, VersionStore
from tests.support.models import add_project, tiny_base

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown", "navy", "gold")


@dataclass(frozen=True)
class FinishedRun:
    project: Project
    store: VersionStore
    base: Base
    snapshot: Snapshot
    held_out: Mapping[str, Sequence[str]]
    version: VersionInfo


def human_caption(colour: str) -> str:
    return f"A picture that is all <b>{colour}</b> & nothing else"


def take_snapshot(database: Database, home: Home, project: Project) -> Snapshot:
    """A correction of a picture in each of the colours."""
    for number, colour in enumerate(COLOURS):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), colour).save(buffer, "PNG")
        stored = corrections.write_image(home, buffer.getvalue(), limits=ImageLimits())
        with database.session() as session:
            corrections.register_image(session, stored)
            record = CorrectionRecord(
                annotation_id=number, task_id=number, state=CorrectionState.ACTIVE, captions=[human_caption(colour)],
                annotated_at=utc_now(), updated_at=utc_now(), image_sha256=stored.sha256,
            )  # fmt: skip
            corrections.upsert(session, project.id, record)
    with database.session() as session:
        return corrections.snapshot(session, project.id, home)


def finished_run(
    database: Database,
    home: Home,
    tmp_path: Path,
    *,
    candidate: Callable[[str], str] = lambda caption: caption,
    logs: bool = True,
) -> FinishedRun:
    """
    Args:
        candidate: what the new version writes for an image, from what the person wrote; the champion always writes
            "a <colour> thing".
        logs: whether the run wrote its logs, as older ones did not.
    """
    project = add_project(database)
    base = tiny_base(tmp_path / "base")
    store = VersionStore(database, home.versions)
    champion = store.ensure_champion(project.id, base)
    snapshot = take_snapshot(database, home, project)
    references = {example.image: [example.caption] for example in snapshot.examples}
    held_out = {image: references[image] for image in split_images(references).held_out}
    written = {image: candidate(caption) for image, (caption,) in held_out.items()}
    before = {image: f"a {caption.split('>')[1].split('<')[0]} thing" for image, (caption,) in held_out.items()}
    verdict = judge(held_out, before, written, corpus=references.values())

    def write(directory: Path) -> None:
        shutil.copytree(
            store.champion(project.id).path, directory, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True
        )
        if logs:
            write_comparison(
                directory / COMPARISON, champion=champion, references=held_out, champion_captions=before,
                candidate_captions=written, corpus=references.values(),
            )  # fmt: skip
            _write_logs(directory, held_out)

    lineage = Lineage(
        parent=champion, snapshot=snapshot.hash, corrections=10, settings={"learning_rate": 0.001, "steps": 40},
        metrics={**verdict.candidate.to_dict(), "gate": verdict.to_dict()}, reason=verdict.reason,
        state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED, new_tokens=7,
    )  # fmt: skip
    name = store.create(project.id, write, lineage=lineage, generation=base.generation)
    return FinishedRun(project, store, base, snapshot, held_out, store.get(project.id, name))


def finished_home(directory: Path, migrated: Path, **how: Any) -> tuple[FinishedRun, Home]:
    """A finished run in a home of its own, to be copied.

    Args:
        migrated: a database file with all tables.
        how: as `finished_run` takes it.
    """
    home = Home(directory / "home")
    home.create()
    shutil.copy(migrated, home.database)
    with closing(Database(f"sqlite:///{home.database}")) as database:
        return finished_run(database, home, directory, **how), home


def copied(made: FinishedRun, original: Home, home: Home, database: Database) -> FinishedRun:
    """A finished run in another home, which gets all that the original has, its database included; not the base.

    Args:
        database: that home's, in which nothing was done yet.
    """
    shutil.copytree(original.root, home.root, dirs_exist_ok=True)
    store = VersionStore(database, home.versions)
    snapshot = replace(made.snapshot, path=home.datasets / made.snapshot.path.name)
    version = store.get(made.project.id, made.version.version)
    return replace(made, store=store, snapshot=snapshot, version=version)


def _write_logs(directory: Path, held_out: Mapping[str, Sequence[str]]) -> None:
    rows = [f"{step},{4 / step},{step / 40000},1.5,120.0," for step in range(1, 41)]
    header = "step,loss,learning_rate,gradient_norm,images_per_second,memory_mib"
    (directory / STEPS_FILE).write_text("\n".join([header, *rows]) + "\n")
    points = [
        {
            "step": step,
            "images": "validation",
            "metrics": {"cider_d": step / 10, "bleu_4": step / 100},
            "samples": [
                {"image": image, "caption": f"<i>step {step}</i>", "references": texts}
                for image, texts in held_out.items()
            ],
        }
        for step in (20, 40)
    ]
    (directory / EVALUATIONS_FILE).write_text("".join(json.dumps(point) + "\n" for point in points))


def add_copy(store: VersionStore, project: Project, base: VersionInfo, *, padding_bytes: int = 0) -> str:
    """Another version: the base's files once more.

    Args:
        padding_bytes: of a file beside them, which makes checking them take longer.
    """

    def write(directory: Path) -> None:
        shutil.copytree(base.path, directory, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
        if padding_bytes:
            with (directory / "padding").open("wb") as file:
                file.truncate(padding_bytes)

    lineage = Lineage(
        parent=base.version, snapshot="", corrections=1, settings={}, metrics={}, reason="",
        state=VersionState.CANDIDATE,
    )  # fmt: skip
    return store.create(project.id, write, lineage=lineage, generation=base.generation)
