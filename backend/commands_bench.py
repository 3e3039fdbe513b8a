"""`captionloop bench`: how much faster than plain `transformers` we are on this machine."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from captionloop.backend.bench.settings import KEYS, PICTURES
from captionloop.backend.commands_shared import json_option


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
    """Compare captioning, training and serving with plain transformers, on this machine and in turns.

    What is compared with is BLIP as people use it: `generate` in fp32 (on a GPU in bf16), full fine-tuning with AdamW,
    and a server that makes one caption after the other. All of it takes some 12 minutes on two cores (20 where
    nothing multiplies in bf16), and needs 16 GB of memory and a machine that does nothing else.

    \b
    Example:
        captionloop bench --only latency --only bulk
        captionloop bench --json > figures.json
    """
    import json

    from transformers import BlipConfig

    from captionloop.backend.bench import report
    from captionloop.backend.bench.machine import look_at_machine
    from captionloop.backend.bench.material import write_pictures
    from captionloop.backend.bench.parts import Result, compare
    from captionloop.backend.bench.random_blip import write_random_blip
    from captionloop.backend.bench.work import work_of
    from captionloop.home import write_atomically
    from captionloop.model.starter import STARTER_DIR

    def say(text: str) -> None:
        click.echo(f"{text} …", err=True)

    keys = only or KEYS
    machine = look_at_machine()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="captionloop-bench-") as directory:
        say("drawing pictures")
        pictures = Path(directory) / "pictures"
        write_pictures(pictures, PICTURES)
        if any(not key.startswith("starter_") for key in keys):
            if model is None:
                model = Path(directory) / "model"
                write_random_blip(model, "base")
            results += compare(model, pictures, keys, said=say)
        starter_keys = [key.removeprefix("starter_") for key in keys if key.startswith("starter_")]
        results += compare(STARTER_DIR, pictures, starter_keys, prefix="starter_", said=say)
        work = {
            result.key: work_of(
                result,
                BlipConfig.from_pretrained(STARTER_DIR if starter else model),
                bytes_each=machine.bytes_each,
            )
            for result in results
            for starter in [result.key.startswith("starter_")]
        }
    found = report.rows(results, work, machine)
    if html is not None:
        write_atomically(html, report.page(machine, found).encode())
    figures = {"machine": asdict(machine), **{result.key: result.figures() for result in results}}
    click.echo(json.dumps(figures, indent=2) if as_json else report.text(machine, found))
