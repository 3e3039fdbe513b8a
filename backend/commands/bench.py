"""`captionloop bench`: speed against plain `transformers` on this machine."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from captionloop.backend.bench.settings import GPU, GPU_LARGE, KEYS, PARTS, PICTURES, STARTER
from captionloop.backend.commands.shared import json_option, print_result
from captionloop.backend.terminal.output import print_line
from captionloop.settings import Settings

if TYPE_CHECKING:
    import torch

    from captionloop.backend.bench.machine import Machine
    from captionloop.backend.bench.parts import Result
    from captionloop.backend.bench.report import PartRow

    _Place = tuple[torch.device, Machine]
    """What computes, and what is known of it."""


@click.command()
@click.option(
    "--model", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="A BLIP in the layout of transformers. Default: BLIP-base with random weights.",
)  # fmt: skip
@click.option(
    "--only", multiple=True, type=click.Choice(KEYS), metavar="PART",
    help=f"Measure this part; several times for several. Default: all, which are {', '.join(KEYS)}.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write a page.")
@json_option
def bench(*, model: Path | None, only: Sequence[str], html: Path | None, as_json: bool) -> None:
    """Measure captioning, training and serving against plain transformers, on this machine and in turns.

    The baseline is BLIP as people use it: `generate` in fp32, full fine-tuning with AdamW, and a server that makes one
    caption after the other; for the gpu_ parts, which need a GPU, all that in bf16 with the fastest batch size. It
    takes some 12 minutes on two cores (25 without bf16 instructions), and needs 16 GB of memory and an otherwise idle
    machine.

    \b
    Example:
        captionloop bench --only latency --only bulk
        captionloop bench --json > figures.json
    """
    import torch

    from captionloop.backend.bench.machine import look_at_machine
    from captionloop.backend.bench.report import BenchReport
    from captionloop.device import CPU, chosen_device, is_gpu
    from captionloop.home import write_atomically

    keys = only or KEYS
    cpu, chosen = torch.device(CPU), chosen_device(Settings.read().device)
    processor = look_at_machine(cpu)
    gpu = look_at_machine(chosen) if is_gpu(chosen) else None
    measured = list(_measure(keys, model, (cpu, processor), None if gpu is None else (chosen, gpu)))
    not_measured = [key for key in keys if key.startswith(GPU) and gpu is None]
    machines = [processor] if gpu is None else [processor, gpu]
    found = BenchReport(machines, [row for _, row in measured], not_measured)
    if html is not None:
        write_atomically(html, found.page().encode())
    figures = {
        "machine": asdict(processor),
        "gpu": None if gpu is None else asdict(gpu),
        **{result.key: result.figures() for result, _ in measured},
        **dict.fromkeys(not_measured),
    }
    print_result(figures, as_json, *found.text().split("\n"))


def _measure(
    keys: Collection[str], model: Path | None, processor: "_Place", gpu: "_Place | None"
) -> Iterator[tuple["Result", "PartRow"]]:
    """Each part of `keys` that this machine can measure, and its row in the report."""
    from transformers import BlipConfig

    from captionloop.backend.bench import report
    from captionloop.backend.bench.material import write_pictures
    from captionloop.backend.bench.parts import compare
    from captionloop.backend.bench.work import work_of

    with tempfile.TemporaryDirectory(prefix="captionloop-bench-") as directory:
        _say("drawing pictures")
        pictures = Path(directory) / "pictures"
        write_pictures(pictures, PICTURES)
        for prefix, parts in PARTS.items():
            place = gpu if prefix.startswith(GPU) else processor
            if place is None or not any(prefix + part in keys for part in parts):
                continue
            device, machine = place
            compared = _compared(prefix, model, Path(directory))
            config = BlipConfig.from_pretrained(compared)
            for result in compare(compared, pictures, keys, device=device, prefix=prefix, said=_say):
                yield result, report.row(result, work_of(result, config, bytes_each=machine.bytes_each), machine)


def _compared(prefix: str, model: Path | None, directory: Path) -> Path:
    """The model that the parts with this prefix measure; one with random weights is written once."""
    from captionloop.backend.bench.random_blip import write_random_blip
    from captionloop.model.starter import STARTER_DIR

    if prefix == STARTER:
        return STARTER_DIR
    if model is not None and prefix != GPU_LARGE:
        return model
    size = "large" if prefix == GPU_LARGE else "base"
    made = directory / size
    if not made.exists():
        write_random_blip(made, size)
    return made


def _say(text: str) -> None:
    print_line(f"{text} …", err=True)
