"""What is compared: each part's two sides in turns, so that whatever else the machine does meets both."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from captionloop.backend.bench.material import read_pictures
from captionloop.backend.bench.served import our_server, plain_server
from captionloop.backend.bench.settings import CLIENTS
from captionloop.backend.bench.turns import Side, Turn
from captionloop.threads import BRIEF_SPINS

# What libgomp does when nobody says anything; importing our package says something.
_AS_USUAL = {"GOMP_SPINCOUNT": "300000"}
_AS_SERVE = {"GOMP_SPINCOUNT": BRIEF_SPINS}

_LATENCY_TURNS, _BULK_TURNS, _TRAINING_TURNS, _SERVED_TURNS = 7, 4, 3, 3
_LATENCIES_OF_OURS = 3  # for each of the baseline's, which takes longer than them


@dataclass(frozen=True)
class Result:
    """
    Args:
        key: one of `settings.KEYS`.
        ours, baseline: turns of both sides, those of one place after the other.
        tokens: mean of our captions, where captions were written.
    """

    key: str
    ours: list[Turn]
    baseline: list[Turn]
    tokens: float | None = None

    @property
    def is_latency(self) -> bool:
        return self.key.endswith("latency")

    @property
    def rate(self) -> float:
        """Of our side: pictures, captions or examples in a second, the median of the turns."""
        return _middle_rate(self.ours)

    @property
    def ratio(self) -> float:
        """How many times as fast as the baseline, by the medians."""
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
        }


def compare(
    model: Path, pictures: Path, keys: Collection[str], *, prefix: str = "", said: Callable[[str], None]
) -> Iterator[Result]:
    """Compare some of `settings.KEYS`, in their order.

    Args:
        model: a directory with a BLIP model.
        pictures: a directory of at least `settings.PICTURES` JPEG files, no two the same.
        keys: what to compare, without the prefix.
        prefix: goes before the keys of the results.
        said: told what happens, some times in each minute.

    Raises:
        ServiceError: a process of the benchmark ended; its error has been seen on stderr.
    """
    if {"latency", "bulk", "recaption"} & set(keys):
        yield from _captioning(model, pictures, keys, prefix, said)
    if {"train_decoder", "train_full"} & set(keys):
        yield from _training(model, pictures, keys, prefix, said)
    if "serve" in keys:
        yield _serving(model, pictures, prefix, said)


def _captioning(
    model: Path, pictures: Path, keys: Collection[str], prefix: str, said: Callable[[str], None]
) -> Iterator[Result]:
    with _plain("caption", model, pictures) as plain, _ours("caption", model, pictures, _AS_SERVE) as ours:
        tokens = ours.facts["tokens"]
        if "latency" in keys:
            said(f"{prefix}latency")
            turns = [
                (_together([ours.turn("latency") for _ in range(_LATENCIES_OF_OURS)]), plain.turn("latency"))
                for _ in range(_LATENCY_TURNS)
            ]
            yield _result(f"{prefix}latency", turns, tokens)
        if not {"bulk", "recaption"} & set(keys):
            return
        bulk, again = [], []
        for place in range(_BULK_TURNS):
            said(f"{prefix}bulk and recaption, {place + 1} of {_BULK_TURNS}")
            baseline = plain.turn("bulk")
            bulk.append((ours.turn("bulk"), baseline))
            if "recaption" in keys:
                again.append((ours.turn("recaption"), baseline))
        if "bulk" in keys:
            yield _result(f"{prefix}bulk", bulk, tokens)
        if "recaption" in keys:
            yield _result(f"{prefix}recaption", again, tokens)


def _training(
    model: Path, pictures: Path, keys: Collection[str], prefix: str, said: Callable[[str], None]
) -> Iterator[Result]:
    # One side of ours at a time, as each holds gigabytes.
    with _plain("train", model, pictures) as plain:
        for key, way in (("train_decoder", "decoder"), ("train_full", "full")):
            if key not in keys:
                continue
            said(f"{prefix}{key}")
            with _ours(way, model, pictures, {}) as ours:
                turns = []
                for place in range(_TRAINING_TURNS):
                    said(f"{prefix}{key}, {place + 1} of {_TRAINING_TURNS}")
                    turns.append((ours.turn("train"), plain.turn("train")))
            yield _result(f"{prefix}{key}", turns)


def _serving(model: Path, pictures: Path, prefix: str, said: Callable[[str], None]) -> Result:
    said(f"{prefix}serve")
    ours_see, plain_sees = cycle(read_pictures(pictures)), cycle(read_pictures(pictures))
    with our_server({**_AS_SERVE, "CAPTIONLOOP_MODEL": str(model)}) as ours, plain_server(model, _AS_USUAL) as plain:
        for server in (ours, plain):
            server.wait_for("/ready")
        ours.turn(list(islice(ours_see, CLIENTS)))  # the first one loads the model
        turns = []
        for place in range(_SERVED_TURNS):
            said(f"{prefix}serve, {place + 1} of {_SERVED_TURNS}")
            some, fewer = islice(ours_see, 4 * CLIENTS), islice(plain_sees, CLIENTS)
            turns.append((ours.turn(list(some)), plain.turn(list(fewer))))
    return _result(f"{prefix}serve", turns)


def _plain(part: str, model: Path, pictures: Path) -> Side:
    return _side("plain", part, model, pictures, _AS_USUAL)


def _ours(part: str, model: Path, pictures: Path, environment: dict[str, str]) -> Side:
    return _side("ours", part, model, pictures, environment)


def _side(name: str, part: str, model: Path, pictures: Path, environment: dict[str, str]) -> Side:
    command = [sys.executable, "-m", f"captionloop.backend.bench.{name}", part, str(model), str(pictures)]
    return Side(f"{part} ({name})", command, environment)


def _together(turns: list[Turn]) -> Turn:
    return Turn(sum(turn.amount for turn in turns), sum(turn.seconds for turn in turns))


def _result(key: str, turns: list[tuple[Turn, Turn]], tokens: float | None = None) -> Result:
    ours, baseline = (list(side) for side in zip(*turns, strict=True))
    return Result(key, ours, baseline, tokens)


def _middle_rate(turns: list[Turn]) -> float:
    return statistics.median(turn.rate for turn in turns)
