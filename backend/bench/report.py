"""The benchmark's figures for people: as a text, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

from captionloop.backend.bench.machine import Machine
from captionloop.backend.bench.parts import Result
from captionloop.backend.bench.settings import BEAMS, CLIENTS, LONGEST
from captionloop.backend.bench.work import Work
from captionloop.backend.commands_shared import table

_GIGA = 1e9

_TITLES: Mapping[str, str] = {
    "latency": f"one caption of one picture, {BEAMS} beams, at most {LONGEST} tokens",
    "bulk": "captions of pictures never seen",
    "recaption": "captions of pictures seen before, as after a swap",
    "train_decoder": "training the decoder, from the second epoch on, against plain full training",
    "train_full": "training all weights",
    "serve": f"captions over HTTP, {CLIENTS} people asking at once",
}


@dataclass(frozen=True)
class Row:
    """A part, written out; empty where something cannot be told."""

    title: str
    ratio: str
    spread: str
    ours: str
    baseline: str
    runs: str
    products: str
    memory: str

    TITLES = ("", "faster", "spread", "ours", "plain", "runs", "products", "memory")

    def cells(self) -> tuple[str, ...]:
        return (
            self.title, self.ratio, self.spread, self.ours, self.baseline, self.runs, self.products, self.memory
        )  # fmt: skip


def rows(results: Sequence[Result], work: Mapping[str, Work | None], machine: Machine) -> list[Row]:
    """
    Args:
        results: of the parts.
        work: what a picture takes, by key; for some parts it is not counted.
        machine: on which they were measured.
    """
    return [_row(result, work.get(result.key), machine) for result in results]


def text(machine: Machine, found: Sequence[Row]) -> str:
    return "\n".join([machine_text(machine), "", table(Row.TITLES, [row.cells() for row in found]), "", EXPLANATION])


def machine_text(machine: Machine) -> str:
    in_bf16 = f" and {machine.bf16 / _GIGA:,.0f} in bf16 ({machine.bf16_unit})" if machine.bf16 else ", bf16 not at all"
    return (
        f"{machine.name}; matrix products {machine.fp32 / _GIGA:,.0f} GFLOP/s in fp32{in_bf16}; "
        f"memory {machine.memory / _GIGA:.0f} GB/s; load before {machine.load:.1f}; PyTorch {machine.torch}"
    )


EXPLANATION = (
    "faster: how many times as fast as plain transformers, by the medians of the runs; spread: of the pairs of runs.\n"
    "products, memory: share that our side reaches of the machine's rate of matrix products (in bf16 if it has that, "
    "else\nin fp32) and of reading."
)


def page(machine: Machine, found: Sequence[Row]) -> str:
    """One HTML file that needs nothing else."""
    environment = Environment(loader=PackageLoader("captionloop.backend.bench", "."), autoescape=True)
    return environment.get_template("report.html").render(
        machine=machine_text(machine), titles=Row.TITLES, rows=found, explanation=EXPLANATION
    )


def _row(result: Result, work: Work | None, machine: Machine) -> Row:
    figures = result.figures()
    ours, baseline = (f"{figures[side]:.3g} {figures['unit']}" for side in ("ours", "baseline"))
    low, high = result.spread
    return Row(
        title=title(result.key),
        ratio=f"{result.ratio:.1f} ×",
        spread=f"{low:.1f} to {high:.1f}",
        ours=ours,
        baseline=baseline,
        runs=str(len(result.ours)),
        products=_share(work.operations * result.rate / machine.products) if work else "",
        memory=_share(work.read * result.rate / machine.memory) if work else "",
    )


def title(key: str) -> str:
    starter = "starter_"
    return f"starter model: {_TITLES[key.removeprefix(starter)]}" if key.startswith(starter) else _TITLES[key]


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share else ""
