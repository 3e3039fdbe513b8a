"""Peak memory of whole runs on BLIP's published sizes: `python -m benchmarks.memory`.

Each run is `jobs.learning.finetune_run.run_finetune` itself, in its own process, on models with random weights: it
loads the champion, encodes images, trains for a few steps and saves its state after each, captions the held-out images
with both versions, judges, and writes the version. The peak is the process's largest resident set.

Two things are simulated. There is no Label Studio: the corrections are in the snapshot already. And to save an hour on
two cores, the champion's features of all images but 64 are random numbers of the right shape and dtype in the cache,
which the run reads like real ones.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from tests.support.peak_memory import peak_bytes

if TYPE_CHECKING:
    from captionloop.jobs.context import Context

_STEPS = 3  # the optimiser has all its memory from the second on
_ENCODED = 64  # images: two of the batches in which a run encodes


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

    def close(self) -> None:
        pass


def opened(directory: Path, precision: str) -> Context:
    """The parts of a run. Nothing is promoted, so that Redis, which is named but not there, is never asked."""
    import torch

    from captionloop.jobs.context import Context
    from captionloop.settings import Settings

    torch.set_num_threads(2)
    variables = {
        "CAPTIONLOOP_HOME": str(directory / "home"),
        "CAPTIONLOOP_MODEL": str(directory / "model"),
        "CAPTIONLOOP_PRECISION": precision,
        "CAPTIONLOOP_GATE": "never",
        "REDIS_URL": "redis://localhost:1",
    }
    context = Context.open(Settings.read(variables))
    context.__dict__["label_studio"] = _NoLabelStudio()
    return context


def prepare(context: Context, case: Case) -> None:
    """A model of the size, and a project with corrected images."""
    import torch

    from captionloop.backend.bench.random_blip import write_random_blip
    from captionloop.model.database import CorrectionState, Project, utc_now
    from captionloop.model.dataset import corrections
    from captionloop.model.dataset.corrections import CorrectionRecord
    from captionloop.model.starter.pool import example
    from captionloop.model.starter.scenes import caption

    write_random_blip(Path(context.settings.model), case.size)
    context.database.migrate()
    hashes = []
    with context.database.session() as session:
        project = Project(server="local", label_studio_id=1, webhook_secret="", is_connected=True)
        session.add(project)
        session.flush()
        for number in range(case.images):
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
            hashes.append(stored.sha256)
    context.versions.ensure_champion(project.id, context.base)
    captioner = context.champion_captioner(project.id)
    vision = captioner.checkpoint.model.config.vision_config
    shape = ((vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden_size)
    for digest in hashes[_ENCODED:]:
        context.features.put_many({digest: torch.randn(shape, dtype=captioner.dtype)}, captioner.encoder_hash)


def run(context: Context, case: Case, micro_batch: int) -> dict[str, float]:
    """Carry a run out in this process."""
    from captionloop.home import write_json
    from captionloop.jobs.learning.finetune_run import run_finetune
    from captionloop.model.database import Run, RunKind, RunState, utc_now
    from captionloop.model.dataset import corrections
    from captionloop.model.training import loop

    loop._STATE_EVERY_S = -1.0  # runs of real length keep their state every half minute
    project = 1
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project, context.home).hash
        asked = Run(
            id=case.way, project_id=project, kind=RunKind.FINETUNE, state=RunState.RUNNING, asked_by="benchmark",
            settings={"way": case.way, "steps": _STEPS, "micro_batch_size": micro_batch}, started_at=utc_now(),
            heartbeat_at=utc_now(), fence=1,
        )  # fmt: skip
        session.add(asked)
    champion = context.versions.champion(project).version
    write_json(context.home.attempt(asked.id, 0) / "plan.json", {"snapshot": snapshot, "champion": champion})
    begun = time.monotonic()
    run_finetune(context, context.queue.runs.attempt(asked.id, 1))
    with context.database.session() as session:  # a project has one running run at a time
        session.get_one(Run, asked.id).state = RunState.FINISHED
    peak = peak_bytes() / 2**30
    return {"gib": peak, "seconds": time.monotonic() - begun}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", choices=[case.name for case in _CASES], default=[c.name for c in _CASES])
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of captioning")
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--child", nargs=2, metavar=("prepare|run", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = [case for case in _CASES if case.name in options.runs]
    if options.child:
        what, directory = options.child
        with closing(opened(Path(directory), options.precision)) as context:
            if what == "prepare":
                prepare(context, chosen[0])
            else:
                print(json.dumps(run(context, chosen[0], options.micro_batch)))
        return

    def child(what: str, case: Case, directory: Path) -> str:
        """Also what is not measured: a process begins with the peak of the one that it was forked from."""
        given = ["--precision", options.precision, "--micro-batch", str(options.micro_batch), "--runs", case.name]
        command = [sys.executable, "-m", "benchmarks.memory", *given, "--child", what, str(directory)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    print("run              images   peak memory     limit   seconds")
    with tempfile.TemporaryDirectory() as temporary:
        for case in chosen:
            directory = Path(temporary) / case.size
            if not directory.exists():
                directory.mkdir()
                child("prepare", case, directory)
            found = json.loads(child("run", case, directory).splitlines()[-1])
            peak, limit = f"{found['gib']:.2f} GiB", f"{case.limit:g} GiB" if case.limit else "-"
            print(f"{case.name:15} {case.images:7} {peak:>13} {limit:>9} {found['seconds']:9.0f}", flush=True)


if __name__ == "__main__":
    main()
