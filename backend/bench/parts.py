"""The comparisons: both sides of each part run alternately, so that other load affects both."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import torch

from captionloop.backend.bench.gpu_use import GpuUse
from captionloop.backend.bench.material import read_pictures
from captionloop.backend.bench.served import our_server, plain_server
from captionloop.backend.bench.settings import BATCH, CLIENTS, GPU, GPU_BATCH, PARTS, part_of
from captionloop.backend.bench.turns import Side, Turn
from captionloop.device import nvidia_name
from captionloop.threads import BRIEF_SPINS

# libgomp's default, which importing our package overrides.
_AS_USUAL = {"GOMP_SPINCOUNT": "300000"}
_AS_SERVE = {"GOMP_SPINCOUNT": BRIEF_SPINS}

_LATENCY_TURNS, _BULK_TURNS, _TRAINING_TURNS, _SERVED_TURNS = 7, 4, 3, 3
_LATENCIES_OF_OURS = 3  # for each of the baseline's, which takes longer


@dataclass(frozen=True)
class Result:
    """
    Args:
        key: one of `settings.KEYS`.
        ours, baseline: turns of both sides; those with the same index were consecutive.
        tokens: mean length of our captions, if any.
        gpu_use: share of our turns in which the GPU was busy, 0 to 1; None if not measured.
    """

    key: str
    ours: list[Turn]
    baseline: list[Turn]
    tokens: float | None = None
    gpu_use: float | None = None

    @property
    def is_latency(self) -> bool:
        return part_of(self.key) == "latency"

    @property
    def batch(self) -> int:
        """Our side's batch size."""
        if self.is_latency:
            return 1
        return GPU_BATCH if self.key.startswith(GPU) else BATCH

    @property
    def rate(self) -> float:
        """Our side's pictures, captions or examples per second, median of the turns."""
        return _middle_rate(self.ours)

    @property
    def ratio(self) -> float:
        """Speed relative to the baseline, by the medians."""
        return self.rate / _middle_rate(self.baseline)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a pair of turns."""
        ratios = [ours.rate / plain.rate for ours, plain in zip(self.ours, self.baseline, strict=True)]
        return min(ratios), max(ratios)

    def figures(self) -> dict[str, object]:
        """Plain data, ready for JSON."""
        ours, baseline = self.rate, _middle_rate(self.baseline)
        if self.is_latency:
            ours, baseline = 1 / ours, 1 / baseline
        unit = "s per caption" if self.is_latency else "examples/s" if "train" in self.key else "captions/s"
        return {
            "ratio": self.ratio,
            "ours": ours,
            "baseline": baseline,
            "unit": unit,
            "runs": len(self.ours),
            "spread": list(self.spread),
            **({} if self.gpu_use is None else {"gpu_use": self.gpu_use}),
        }


def compare(
    model: Path,
    pictures: Path,
    keys: Collection[str],
    *,
    device: torch.device,
    prefix: str = "",
    said: Callable[[str], None],
) -> Iterator[Result]:
    """Run the requested comparisons of `settings.PARTS` under a prefix.

    Args:
        model: a directory with a BLIP model.
        pictures: a directory of at least `settings.PICTURES` distinct JPEG files.
        keys: of results; those with another prefix are ignored.
        device: of both sides.
        prefix: of the parts.
        said: called with progress messages.

    Raises:
        ServiceError: a process of the benchmark ended; its error has been seen on stderr.
    """
    parts = [part for part in PARTS[prefix] if prefix + part in keys]
    if {"latency", "bulk", "recaption"} & set(parts):
        yield from _captioning(model, pictures, parts, device, prefix, said)
    if {"train_decoder", "train_full"} & set(parts):
        yield from _training(model, pictures, parts, device, prefix, said)
    if "serve" in parts:
        yield _serving(model, pictures, device, prefix, said)


def _captioning(
    model: Path,
    pictures: Path,
    parts: Collection[str],
    device: torch.device,
    prefix: str,
    said: Callable[[str], None],
) -> Iterator[Result]:
    with (
        _side("plain", "caption", model, pictures, device, prefix) as plain,
        _side("ours", "caption", model, pictures, device, prefix) as ours,
    ):
        tokens = ours.facts["tokens"]
        if "latency" in parts:
            said(f"{prefix}latency")
            turns = [
                (_together([ours.turn("latency") for _ in range(_LATENCIES_OF_OURS)]), plain.turn("latency"))
                for _ in range(_LATENCY_TURNS)
            ]
            yield _result(f"{prefix}latency", turns, tokens)
        if not {"bulk", "recaption"} & set(parts):
            return
        bulk, again, uses = [], [], []
        for place in range(_BULK_TURNS):
            said(f"{prefix}bulk{' and recaption' if 'recaption' in parts else ''}, {place + 1} of {_BULK_TURNS}")
            baseline = plain.turn("bulk")
            with GpuUse(gpu) if (gpu := nvidia_name(device)) else nullcontext() as use:
                bulk.append((ours.turn("bulk"), baseline))
            if use and use.share is not None:
                uses.append(use.share)
            if "recaption" in parts:
                again.append((ours.turn("recaption"), baseline))
        if "bulk" in parts:
            yield _result(f"{prefix}bulk", bulk, tokens, gpu_use=statistics.median(uses) if uses else None)
        if "recaption" in parts:
            yield _result(f"{prefix}recaption", again, tokens)


def _training(
    model: Path,
    pictures: Path,
    parts: Collection[str],
    device: torch.device,
    prefix: str,
    said: Callable[[str], None],
) -> Iterator[Result]:
    # One side of ours at a time, as each holds gigabytes.
    with _side("plain", "train", model, pictures, device, prefix) as plain:
        for part, way in (("train_decoder", "decoder"), ("train_full", "full")):
            if part not in parts:
                continue
            said(f"{prefix}{part}")
            with _side("ours", way, model, pictures, device, prefix) as ours:
                turns = []
                for place in range(_TRAINING_TURNS):
                    said(f"{prefix}{part}, {place + 1} of {_TRAINING_TURNS}")
                    turns.append((ours.turn("train"), plain.turn("train")))
            yield _result(f"{prefix}{part}", turns)


def _serving(model: Path, pictures: Path, device: torch.device, prefix: str, said: Callable[[str], None]) -> Result:
    said(f"{prefix}serve")
    ours_see, plain_sees = cycle(read_pictures(pictures)), cycle(read_pictures(pictures))
    ours_has = _AS_SERVE | _on(device) | {"CAPTIONLOOP_MODEL": str(model)}
    with our_server(ours_has) as ours, plain_server(model, _AS_USUAL | _on(device)) as plain:
        for server in (ours, plain):
            server.wait_for("/ready")
        ours.turn(list(islice(ours_see, CLIENTS)))  # the first one loads the model
        turns = []
        for place in range(_SERVED_TURNS):
            said(f"{prefix}serve, {place + 1} of {_SERVED_TURNS}")
            some, fewer = islice(ours_see, 4 * CLIENTS), islice(plain_sees, CLIENTS)
            turns.append((ours.turn(list(some)), plain.turn(list(fewer))))
    return _result(f"{prefix}serve", turns)


def _side(
    name: Literal["ours", "plain"], work: str, model: Path, pictures: Path, device: torch.device, prefix: str
) -> Side:
    as_usual = _AS_USUAL if name == "plain" else _AS_SERVE if work == "caption" else {}
    command = [sys.executable, "-m", f"captionloop.backend.bench.{name}", work, str(model), str(pictures)]
    return Side(f"{prefix}{work} ({name})", command, as_usual | _on(device))


def _on(device: torch.device) -> dict[str, str]:
    return {"CAPTIONLOOP_DEVICE": device.type}


def _together(turns: list[Turn]) -> Turn:
    return Turn(sum(turn.amount for turn in turns), sum(turn.seconds for turn in turns))


def _result(
    key: str, turns: list[tuple[Turn, Turn]], tokens: float | None = None, *, gpu_use: float | None = None
) -> Result:
    ours, baseline = (list(side) for side in zip(*turns, strict=True))
    return Result(key, ours, baseline, tokens, gpu_use)


def _middle_rate(turns: list[Turn]) -> float:
    return statistics.median(turn.rate for turn in turns)
