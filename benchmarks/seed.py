"""Fill a home directory with a project as it is after months: `python -m benchmarks.seed HOME [--corrections 20000]`.

For looking at the pages and for timing them. The pictures are drawn scenes, the versions copies of the starter model
with a comparison each; suggestions grow better from version to version. Nothing of it comes from Label Studio, so the
links into it lead nowhere.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from captionloop.home import Home
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import (
    Correction,
    CorrectionState,
    Database,
    Project,
    Run,
    RunKind,
    RunState,
    Suggestion,
    Version,
    VersionState,
    utc_now,
)
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord, StoredImage
from captionloop.model.dataset.images import content_hash
from captionloop.model.dataset.near_duplicates import fingerprint
from captionloop.model.evaluation.comparison_file import COMPARISON, write_comparison
from captionloop.model.evaluation.gate import judge
from captionloop.model.starter.scenes import COLOURS, Scene, caption, draw, random_scene
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import MANIFEST, Lineage
from captionloop.model.versions.store import VersionStore

_ANNOTATORS = ("ada@example.org", "grace@example.org", "katherine@example.org")
_COMPARED_IMAGES = 40
_IMAGE_PX = 320
_CARELESS = 0.02  # share of captions that the page Dataset has something to say about


def wrong(text: str, rng: random.Random, share: float) -> str:
    """A suggestion as a model might make it: with the given chance a word is another one, or missing, or too much."""
    words = text.split()
    if rng.random() > share or len(words) < 2:
        return text
    place = rng.randrange(len(words))
    kind = rng.choice(["colour", "drop", "number", "wording", "several"])
    if kind == "colour" and (coloured := [i for i, word in enumerate(words) if word in COLOURS]):
        words[rng.choice(coloured)] = rng.choice(sorted(COLOURS))
    elif kind == "drop" and len(words) > 2:
        words.pop(place)
    elif kind == "number":
        words[0] = rng.choice(["two", "three"])
    elif kind == "several":
        words = wrong(wrong(text, rng, 1.0), rng, 1.0).split()[: place + 3]
    else:
        words[-1] = rng.choice(["thing", "object", "shape"])
    return " ".join(words)


def careless(text: str, rng: random.Random) -> str:
    """What a person writes: now and then a test, a sign that no vocabulary has, or something about another picture."""
    if rng.random() > _CARELESS:
        return text
    return rng.choice(["asdf", "test", f"{text} 😀", "somebody walks along a river at night"])


def keep_images(home: Home, database: Database, count: int, rng: random.Random) -> list[tuple[StoredImage, Scene]]:
    kept = []
    for number in range(count):
        scene, buffer = random_scene(rng), io.BytesIO()
        picture = draw(scene, size=_IMAGE_PX, seed=number)
        picture.save(buffer, "PNG")
        data = buffer.getvalue()
        stored = StoredImage(content_hash(data), len(data), _IMAGE_PX, _IMAGE_PX, fingerprint(picture))
        path = home.image(stored.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)  # `write_image` makes sure of each on the disk, which takes minutes for thousands
        kept.append((stored, scene))
    with database.session() as session:
        for stored, _ in kept:
            corrections.register_image(session, stored)
    return kept


def _linked(source: str, target: str) -> None:
    """Copy a file, or give the same weights a second name: forty versions then take the room of one."""
    if source.endswith(".safetensors"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def add_versions(
    home: Home, database: Database, project_id: int, images: Sequence[tuple[StoredImage, Scene]], count: int,
    rng: random.Random,
) -> list[str]:  # fmt: skip
    store = VersionStore(database, home.versions)
    names = [store.ensure_champion(project_id, Base("starter", GenerationSettings()))]
    with database.session() as session:
        session.get_one(Version, names[0]).created_at = utc_now() - timedelta(days=2 * count)
    references = {stored.sha256: [caption(scene)] for stored, scene in images[:_COMPARED_IMAGES]}
    for number in range(1, count):
        parent, share = names[-1], max(0.6 - 0.5 * number / count, 0.05)
        if number % 4 == 3:  # a run whose settings were a mistake
            share += 0.4
        before = {image: wrong(text, rng, share + 0.15) for image, (text,) in references.items()}
        after = {image: wrong(text, rng, share) for image, (text,) in references.items()}
        verdict = judge(references, before, after, corpus=references.values())

        def write(
            directory: Path, before: dict[str, str] = before, after: dict[str, str] = after, parent: str = parent
        ) -> None:
            shutil.copytree(
                store.champion(project_id).path,
                directory,
                ignore=shutil.ignore_patterns(MANIFEST),
                copy_function=_linked,
                dirs_exist_ok=True,
            )
            write_comparison(
                directory / COMPARISON, champion=parent, references=references, champion_captions=before,
                candidate_captions=after, corpus=references.values(),
            )  # fmt: skip
            rows = [
                f"{step},{3 / step**0.5:.4f},{1e-3 * (1 - step / 300):.6f},1.2,90.0,900.0" for step in range(1, 301)
            ]
            header = "step,loss,learning_rate,gradient_norm,images_per_second,memory_mib"
            (directory / "training_log.csv").write_text("\n".join([header, *rows]) + "\n")

        with database.session() as session:
            snapshot = corrections.snapshot(session, project_id, home)
        lineage = Lineage(
            parent=parent, snapshot=snapshot.hash, corrections=60 * number,
            settings={"way": "decoder", "learning_rate": 1e-3, "steps": 300},
            metrics={**verdict.candidate.to_dict(), "gate": verdict.to_dict()}, reason=verdict.reason,
            state=VersionState.CANDIDATE if verdict.promote else VersionState.REJECTED,
        )  # fmt: skip
        name = store.create(project_id, write, lineage=lineage, generation=GenerationSettings())
        if verdict.promote:
            store.promote(project_id, name, reason=verdict.reason)
            names.append(name)
        with database.session() as session:
            begun = utc_now() - timedelta(days=2 * (count - number))
            session.get_one(Version, name).created_at = begun
            session.add(
                Run(
                    id=f"{number:032x}",
                    project_id=project_id,
                    kind=RunKind.FINETUNE,
                    state=RunState.FINISHED,
                    asked_by="Label Studio",
                    progress=1.0,
                    message=f"{name} was made. {verdict.reason}",
                    version=name,
                    attempts=1,
                    created_at=begun,
                    started_at=begun,
                    finished_at=begun + timedelta(seconds=50),
                )
            )
    return names


def add_other_runs(home: Home, database: Database, project_id: int) -> None:
    """One that goes on (no worker stands behind it), one that failed, with its log, and one that was cancelled."""
    now = utc_now()
    failed, cancelled = now - timedelta(hours=30), now - timedelta(hours=26)
    losses = "".join(f"{step},{3 / step**0.5:.4f},0.001,1.2,90.0,900.0\n" for step in range(1, 141))
    running = home.attempt("a" * 32, 1) / "version"
    running.mkdir(parents=True)
    (running / "training_log.csv").write_text(
        "step,loss,learning_rate,gradient_norm,images_per_second,memory_mib\n" + losses
    )
    home.logs.mkdir()
    message = "Label Studio does not answer at http://localhost:8080 (connection refused). Start it, and try again."
    written = failed.astimezone().strftime("%Y-%m-%d %H:%M:%S,120")
    (home.logs / "worker.log").write_text(f"{written} ERROR captionloop.jobs.entry: run {'f' * 32}: {message}\n")
    with database.session() as session:
        session.add_all(
            [
                Run(
                    id="f" * 32, project_id=project_id, kind=RunKind.FINETUNE, state=RunState.FAILED, asked_by="lead",
                    settings={"steps": 400}, message=message, attempts=1, created_at=failed, started_at=failed,
                    finished_at=failed + timedelta(seconds=3),
                ),
                Run(
                    id="c" * 32, project_id=project_id, kind=RunKind.FINETUNE, state=RunState.CANCELLED,
                    asked_by="lead", message="Cancelled. Everything is as it was before.", attempts=1,
                    created_at=cancelled, started_at=cancelled, finished_at=cancelled + timedelta(seconds=20),
                ),
                Run(
                    id="a" * 32, project_id=project_id, kind=RunKind.FINETUNE, state=RunState.RUNNING, asked_by="lead",
                    settings={"steps": 300, "learning_rate": 0.0008}, progress=0.53, attempts=1, fence=1,
                    created_at=now,
                    started_at=now, heartbeat_at=now + timedelta(days=1),
                    detail={"stage": "training", "step": 140, "steps": 300, "loss": 0.254, "seconds_left": 12.4},
                ),
            ]
        )  # fmt: skip


def add_corrections(
    database: Database, project_id: int, images: Sequence[tuple[StoredImage, Scene]], versions: Sequence[str],
    count: int, rng: random.Random,
) -> None:  # fmt: skip
    begun = utc_now() - timedelta(days=90)
    for start in range(0, count, 1000):
        with database.session() as session:
            for number in range(start, min(start + 1000, count)):
                stored, scene = rng.choice(images)
                place = min(number * len(versions) // count, len(versions) - 1)
                described = caption(scene)
                suggested = wrong(described, rng, max(0.65 - 0.5 * place / len(versions), 0.1))
                text = careless(described, rng)
                moment = begun + timedelta(minutes=number * 90 * 24 * 60 / count)
                record = CorrectionRecord(
                    annotation_id=number,
                    task_id=number,
                    state=CorrectionState.ACTIVE,
                    captions=[text],
                    annotated_at=moment,
                    updated_at=moment,
                    image_sha256=stored.sha256,
                    suggestion=suggested,
                    suggestion_version=versions[place],
                    suggestion_score=round(rng.uniform(0.3, 0.99), 3),
                    origin="prediction" if suggested == text else "prediction-changed",
                    annotator=rng.choice(_ANNOTATORS),
                    lead_time_s=round(rng.lognormvariate(2.3, 0.6), 1),
                )
                derived = corrections.derived(record.suggestion, record.captions)
                session.add(Correction(project_id=project_id, **vars(record), **derived))
                session.add(
                    Suggestion(
                        project_id=project_id,
                        task_id=number,
                        model_version=versions[place],
                        caption=suggested,
                        score=record.suggestion_score,
                        created_at=moment,
                    )
                )


def seed(home: Home, *, corrections_count: int, versions: int, images: int) -> None:
    rng = random.Random(5)
    home.create()
    database = Database(f"sqlite:///{home.database}")
    database.migrate()
    with database.session() as session:
        project = Project(
            server="local", label_studio_id=1, title="Drawn scenes", webhook_secret="none", is_connected=True
        )
        session.add(project)
        session.flush()
    kept = keep_images(home, database, images, rng)
    names = add_versions(home, database, project.id, kept, versions, rng)
    add_corrections(database, project.id, kept, names, corrections_count, rng)
    add_other_runs(home, database, project.id)
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--corrections", type=int, default=300)
    parser.add_argument("--versions", type=int, default=6)
    parser.add_argument("--images", type=int, default=120)
    options = parser.parse_args()
    seed(Home(options.home), corrections_count=options.corrections, versions=options.versions, images=options.images)


if __name__ == "__main__":
    main()
