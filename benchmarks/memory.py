"""Peak memory of whole runs on BLIP's published sizes: `python -m benchmarks.memory`.

Each run is `jobs.finetune.run_finetune` itself, in a process of its own, on models with random weights: it loads the
champion, encodes the images (those of a size once), trains for a few steps and keeps its state after each, captions the
held-out images with both versions, judges, and writes the version. Only Label Studio is missing: the corrections are in
the snapshot already. The peak is the process's largest resident set, `getrusage`'s ru_maxrss.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

_STEPS = 4


@dataclass(frozen=True)
class Case:
    """A run to measure, and the most it may take, in GiB."""

    size: str
    way: str
    images: int
    limit: float | None = None

    @property
    def name(self) -> str:
        return f"{self.size} {self.way}"


_CASES = (
    Case("base", "decoder", 1000, limit=6),
    Case("base", "lora", 1000),
    Case("base", "full", 1000, limit=16),
    Case("large", "decoder", 100),
    Case("large", "full", 100),
)


class _NoLabelStudio:
    def ml_backends(self, project: int) -> list[dict[str, Any]]:
        return []


def run(case: Case, model: Path, home: Path, precision: str, micro_batch: int) -> dict[str, Any]:
    """Carry a run out in this process."""
    import torch

    from captionloop.home import write_json
    from captionloop.jobs.context import Context
    from captionloop.jobs.finetune import run_finetune
    from captionloop.model import corrections, finetune
    from captionloop.model.database import Run, RunKind, RunState, utc_now
    from captionloop.settings import Settings

    torch.set_num_threads(2)
    finetune._STATE_EVERY_S = -1.0  # runs of real length keep their state every half minute
    settings = {"CAPTIONLOOP_HOME": str(home), "CAPTIONLOOP_MODEL": str(model), "CAPTIONLOOP_PRECISION": precision}
    # Nothing is promoted, so that Redis, which is named but not there, is never asked.
    context = Context.open(Settings.read({**settings, "CAPTIONLOOP_GATE": "never", "REDIS_URL": "redis://localhost:1"}))
    context.__dict__["label_studio"] = _NoLabelStudio()
    context.database.migrate()
    project = corrected(context, case.images)
    with context.database.reading() as session:
        snapshot = corrections.snapshot(session, project, context.home.datasets).hash
    champion = context.versions.ensure_champion(project, context.base)
    chosen = {"way": case.way, "steps": _STEPS, "micro_batch_size": micro_batch}
    with context.database.session() as session:
        asked = Run(
            id=case.way, project_id=project, kind=RunKind.FINETUNE, state=RunState.RUNNING, asked_by="benchmark",
            settings=chosen, started_at=utc_now(), heartbeat_at=utc_now(),
        )  # fmt: skip
        session.add(asked)
    write_json(context.home.runs / asked.id / "plan.json", {"snapshot": snapshot, "champion": champion})
    begun = time.monotonic()
    run_finetune(context, asked)
    context.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    return {"gib": peak, "seconds": time.monotonic() - begun}


def corrected(context: Any, images: int) -> int:
    """The number of a project with so many corrected images, made by the first run on models of a size."""
    from captionloop.model import corrections
    from captionloop.model.corrections import CorrectionRecord
    from captionloop.model.database import CorrectionState, Project, utc_now
    from captionloop.model.starter.pool import example
    from captionloop.model.starter.scenes import caption

    with context.database.session() as session:
        if session.get(Project, 1):
            return 1
        project = Project(server="local", label_studio_id=1, webhook_secret="", is_connected=True)
        session.add(project)
        session.flush()
        for number in range(images):
            file = io.BytesIO()
            Image.effect_noise((384, 384), 60).convert("RGB").save(file, "JPEG")
            stored = corrections.write_image(context.home, file.getvalue(), limits=context.image_limits)
            corrections.register_image(session, stored)
            record = CorrectionRecord(
                annotation_id=number, task_id=number, state=CorrectionState.ACTIVE,
                captions=[caption(example("memory", number)[0])], annotated_at=utc_now(), updated_at=utc_now(),
                image_sha256=stored.sha256,
            )  # fmt: skip
            corrections.upsert(session, project.id, record)
        return project.id


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", choices=[case.name for case in _CASES], default=[c.name for c in _CASES])
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of captioning")
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "HOME"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = [case for case in _CASES if case.name in options.runs]
    if options.child:
        model, home = map(Path, options.child)
        print(json.dumps(run(chosen[0], model, home, options.precision, options.micro_batch)))
        return
    print("run              images   peak memory   limit   seconds")
    with tempfile.TemporaryDirectory() as directory:
        for size in dict.fromkeys(case.size for case in chosen):
            # Not here: a child begins with the peak of the process that it was forked from.
            write = f"from benchmarks.random_blip import *; write_random_blip(Path({directory!r}) / {size!r}, {size!r})"
            subprocess.run([sys.executable, "-c", write], check=True)
        for case in chosen:
            model, home = Path(directory) / case.size, Path(directory) / f"{case.size}-home"
            child = ["--runs", case.name, "--child", str(model), str(home)]
            given = ["--precision", options.precision, "--micro-batch", str(options.micro_batch)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", *given, *child], check=True, stdout=subprocess.PIPE
            )
            found = json.loads(done.stdout.splitlines()[-1])
            limit = f"{case.limit:g} GiB" if case.limit else "-"
            print(
                f"{case.name:15} {case.images:7} {found['gib']:9.2f} GiB {limit:>7} {found['seconds']:9.0f}", flush=True
            )


if __name__ == "__main__":
    main()
