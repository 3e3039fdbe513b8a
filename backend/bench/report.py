"""The benchmark's results as text and as an HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

from captionloop.backend.bench.machine import Machine
from captionloop.backend.bench.parts import Result
from captionloop.backend.bench.settings import BEAMS, CLIENTS, GPU, GPU_LARGE, LONGEST, STARTER, part_of
from captionloop.backend.bench.work import Work
from captionloop.backend.terminal.table import table

_GIGA = 1e9

_TITLES: Mapping[str, str] = {
    "latency": f"one caption of one picture, {BEAMS} beams, at most {LONGEST} tokens",
    "bulk": "captions of pictures never seen",
    "recaption": "captions of pictures seen before, as after a swap",
    "train_decoder": "training the decoder, from the second epoch on, against plain full training",
    "train_full": "training all weights",
    "serve": f"captions over HTTP, {CLIENTS} people asking at once",
}
_SUBJECTS = {"": "", STARTER: "starter model: ", GPU: "GPU: ", GPU_LARGE: "GPU, BLIP-large: "}


@dataclass(frozen=True)
class PartRow:
    """A part's results as texts; empty if unknown."""

    title: str
    ratio: str
    spread: str
    ours: str
    baseline: str
    runs: str
    products: str
    memory: str
    gpu_use: str

    TITLES = ("", "faster", "spread", "ours", "plain", "runs", "products", "memory", "GPU busy")

    def cells(self) -> tuple[str, ...]:
        return (
            self.title, self.ratio, self.spread, self.ours, self.baseline, self.runs, self.products, self.memory,
            self.gpu_use,
        )  # fmt: skip


@dataclass(frozen=True)
class BenchReport:
    """
    Args:
        machines: on which the parts were measured.
        rows: one for each part.
        not_measured: keys of the parts that need a GPU, if there is none.
    """

    machines: Sequence[Machine]
    rows: Sequence[PartRow]
    not_measured: Sequence[str]

    def text(self) -> str:
        titles, *cells = self._table()
        return "\n".join([*map(machine_text, self.machines), "", table(titles, cells), "", *self._notes()])

    def page(self) -> str:
        """A self-contained HTML page."""
        environment = Environment(loader=PackageLoader("captionloop.backend.bench", "."), autoescape=True)
        return environment.get_template("report.html").render(
            machines=[machine_text(machine) for machine in self.machines],
            table=self._table(),
            notes=self._notes(),
        )

    def _table(self) -> list[tuple[str, ...]]:
        """Titles and rows; GPU utilisation only if measured."""
        found = [PartRow.TITLES, *(row.cells() for row in self.rows)]
        return found if any(row.gpu_use for row in self.rows) else [cells[:-1] for cells in found]

    def _notes(self) -> list[str]:
        missing = [f"Not measured, as there is no GPU: {', '.join(self.not_measured)}."] if self.not_measured else []
        return [*EXPLANATION.splitlines(), *missing]


def machine_text(machine: Machine) -> str:
    in_bf16 = f" and {machine.bf16 / _GIGA:,.0f} in bf16 ({machine.bf16_unit})" if machine.bf16 else ", bf16 not at all"
    return (
        f"{machine.name}; matrix products {machine.fp32 / _GIGA:,.0f} GFLOP/s in fp32{in_bf16}; "
        f"memory {machine.memory / _GIGA:.0f} GB/s; load before {machine.load:.1f}; PyTorch {machine.torch}"
    )


EXPLANATION = (
    "faster: how many times as fast as plain transformers, by the medians of the runs; spread: of the pairs of runs.\n"
    "products, memory: share that our side reaches of the machine's rate of matrix products (in bf16 if it has that, "
    "else\nin fp32) and of reading; GPU busy: share of our side's time in which the GPU had something to do."
)


def row(result: Result, work: Work | None, machine: Machine) -> PartRow:
    """
    Args:
        result: of a part.
        work: operations per picture; None if not counted.
        machine: on which it was measured.
    """
    figures = result.figures()
    ours, baseline = (f"{figures[side]:.3g} {figures['unit']}" for side in ("ours", "baseline"))
    low, high = result.spread
    return PartRow(
        title=title(result.key),
        ratio=f"{result.ratio:.1f} ×",
        spread=f"{low:.1f} to {high:.1f}",
        ours=ours,
        baseline=baseline,
        runs=str(len(result.ours)),
        products=_share(work.operations * result.rate / machine.products) if work else "",
        memory=_share(work.read * result.rate / machine.memory) if work else "",
        gpu_use="" if result.gpu_use is None else f"{100 * result.gpu_use:.0f} %",
    )


def title(key: str) -> str:
    part = part_of(key)
    return _SUBJECTS[key.removesuffix(part)] + _TITLES[part]


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share else ""
