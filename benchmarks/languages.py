"""How quickly the starter model learns to write in other languages: `python -m benchmarks.languages [--results FILE]`.

A person corrects captions of drawn scenes in their own language (`model/starter/languages.py`), a run learns from them,
a fifth held out for the gate as always, and the new version captions unseen scenes: the share of captions that are
exactly right, and of those that are so but for capitals. Each measurement is a line of the results file as soon as it
is done, so a benchmark that was stopped goes on from there.

`--after ru` measures English styles instead: learnt by a version that has learnt that language before, and, to
compare, by the starter model. `--times` measures what the extension of the vocabulary costs: the same number of
corrections in the language and in an English style, learnt in turn.

`--word-forms` trains nothing: of the unseen captions, the share with no word form that the corrections lack. A method
that learns whole words cannot exceed it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from benchmarks.house_style import Learner, Pool, captions_of

from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.text import is_word, lower_case, split_tokens
from captionloop.model.dataset.split import split_images
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.languages import LANGUAGES
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene
from captionloop.model.starter.styles import STYLES
from captionloop.model.training.settings import FinetuneSettings

_WRITERS: dict[str, Callable[[Scene], str]] = {**LANGUAGES, **STYLES}
_STYLES = ["new_words", "new_words_and_order"]
_LANGUAGE_FIRST = 60  # corrections in the language, before those in an English style
_TIMED = 160  # corrections
_ENGLISH = "new_words_and_order"  # 12.5 tokens a caption; German and Russian ones have about as many
_AT_ONCE = 100
_WITHOUT_SPACES = ("ja", "zh")


@dataclass(frozen=True)
class Cell:
    """One measurement to make.

    Args:
        writer: language or style of the corrections.
        corrections: how many.
        seed: of the pictures and of the run.
        unseen: scenes to caption.
        after: the language that the version knows already; empty for the starter model.
    """

    writer: str
    corrections: int
    seed: int
    unseen: int
    after: str = ""


@dataclass(frozen=True)
class Result:
    """
    Args:
        exact: share of the captions that are exactly right.
        but_for_capitals: the same in lower case.
        training_s: duration of the run.
    """

    exact: float
    but_for_capitals: float
    training_s: float


class Results:
    """What was measured, a JSON line each in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = [field.name for field in fields(Cell)]
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.found = dict(map(self._read, map(json.loads, lines)))

    def add(self, cell: Cell, result: Result) -> None:
        self.found[cell] = result
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cell) | asdict(result)) + "\n")

    def _read(self, line: dict[str, object]) -> tuple[Cell, Result]:
        cell = {name: line.pop(name) for name in self._names}
        return Cell(**cell), Result(**line)  # type: ignore[arg-type]


class Measurements:
    """The cells' pictures and models, made when they are needed first."""

    def __init__(self, model: Path, settings: FinetuneSettings, *, most: int) -> None:
        self._learner, self._settings, self._most = Learner(model), settings, most
        self._pools: dict[tuple[str, int], Pool] = {}
        self._taught: dict[tuple[str, int], Captioner] = {}

    def result(self, cell: Cell) -> Result:
        begun = self._taught_before(cell.after, cell.seed) if cell.after else None
        start = time.monotonic()
        captioner = self.learnt(cell, begun)
        seconds = time.monotonic() - start
        exact, but_for_capitals = self._right(captioner, self._pool("unseen", cell.unseen), _WRITERS[cell.writer])
        return Result(exact, but_for_capitals, seconds)

    def learnt(self, cell: Cell, begun: Captioner | None = None) -> Captioner:
        pool = self._pool(f"corrections-{cell.seed}", self._most)
        captions = captions_of(pool, _WRITERS[cell.writer], careless=0, seed=cell.seed)
        first = dict(list(captions.items())[: cell.corrections])
        return self._learner.corrected(pool, first, replace(self._settings, seed=cell.seed), begun=begun)

    def _taught_before(self, language: str, seed: int) -> Captioner:
        if (language, seed) not in self._taught:
            self._taught[language, seed] = self.learnt(Cell(language, _LANGUAGE_FIRST, seed, 0))
        return self._taught[language, seed]

    def _pool(self, name: str, count: int) -> Pool:
        if (name, count) not in self._pools:
            self._pools[name, count] = self._learner.pool(name, count)
        return self._pools[name, count]

    def _right(self, captioner: Captioner, pool: Pool, writer: Callable[[Scene], str]) -> tuple[float, float]:
        names, exact, but_for_capitals = list(pool.scenes), 0, 0
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            found = captioner.caption_features(torch.stack([pool.features[name] for name in some]))
            for name, suggestion in zip(some, found, strict=True):
                wanted = writer(pool.scenes[name])
                exact += suggestion.caption == wanted
                but_for_capitals += lower_case(suggestion.caption) == lower_case(wanted)
        return exact / len(names), but_for_capitals / len(names)


def table(results: Results, cells: Sequence[Cell]) -> str:
    """A line for each writer and number of corrections, with the mean over the seeds that are done."""
    rows = [
        "| corrections in | after | number | exact match | each seed | but for capitals | s to train |",
        "|---" * 7 + "|",
    ]
    for group in dict.fromkeys(replace(cell, seed=0) for cell in cells):
        done = [results.found[cell] for cell in cells if replace(cell, seed=0) == group and cell in results.found]
        if done:
            exact = [result.exact for result in done]
            rows.append(
                f"| {group.writer} | {group.after or 'starter model'} | {group.corrections} "
                f"| {statistics.mean(exact):.3f} | {' '.join(f'{value:.3f}' for value in exact)} "
                f"| {statistics.mean(result.but_for_capitals for result in done):.3f} "
                f"| {statistics.mean(result.training_s for result in done):.0f} |"
            )
    return "\n".join(rows)


def compare_times(measurements: Measurements, languages: Sequence[str], *, repeats: int) -> None:
    """Print the CPU time of runs in each language, as a multiple of one in English, each beside its own."""
    measurements.learnt(Cell(_ENGLISH, _TIMED, 0, 0))  # what comes first pays for what is loaded once
    for language in languages:
        ratios = []
        for seed in range(repeats):
            seconds = {}
            for writer in (_ENGLISH, language):
                begun = time.process_time()  # of all threads, and not of other programs
                measurements.learnt(Cell(writer, _TIMED, seed, 0))
                seconds[writer] = time.process_time() - begun
            ratios.append(seconds[language] / seconds[_ENGLISH])
            print(f"{language}: {seconds[language]:.1f} s, English {seconds[_ENGLISH]:.1f} s", flush=True)
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{language}: {statistics.median(ratios):.2f} times as long as in English ({each})", flush=True)


def word_forms(cells: Sequence[Cell]) -> str:
    """A line for each writer and number of corrections: the share of unseen captions whose every form was taught.

    Without Chinese and Japanese, which have no spaces between words.
    """
    rows = [
        "| captions in | corrections | word forms in them | captions without another | each seed |",
        "|---" * 5 + "|",
    ]
    for group in dict.fromkeys(replace(cell, seed=0) for cell in cells):
        some = [cell for cell in cells if replace(cell, seed=0) == group]
        if group.writer in _WITHOUT_SPACES:
            continue
        unseen = [_forms(group.writer, "unseen", index) for index in range(group.unseen)]
        taught = [_taught_forms(cell) for cell in some]
        shares = [sum(forms <= known for forms in unseen) / len(unseen) for known in taught]
        rows.append(
            f"| {group.writer} | {group.corrections} | {statistics.mean(map(len, taught)):.0f} "
            f"| {statistics.mean(shares):.3f} | {' '.join(f'{share:.3f}' for share in shares)} |"
        )
    return "\n".join(rows)


def _taught_forms(cell: Cell) -> set[str]:
    """Of the corrections that are not held out."""
    split = split_images(f"{index:08x}" for index in range(cell.corrections))
    return set().union(*(_forms(cell.writer, f"corrections-{cell.seed}", int(name, 16)) for name in split.train))


def _forms(writer: str, series: str, index: int) -> set[str]:
    scene, _ = example(series, index)
    return set(filter(is_word, split_tokens(lower_case(_WRITERS[writer](scene)))))


def _cells(options: argparse.Namespace) -> Iterator[Cell]:
    """In an order in which each seed is complete before the next one begins."""
    for seed in range(options.seeds):
        for corrections in options.corrections:
            for after in ("", options.after) if options.after else ("",):
                for writer in _STYLES if options.after else options.languages:
                    yield Cell(writer, corrections, seed, options.unseen, after)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=STARTER_DIR)
    parser.add_argument("--languages", nargs="+", choices=sorted(LANGUAGES), default=sorted(LANGUAGES))
    parser.add_argument("--corrections", type=int, nargs="+", default=[60, 160])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unseen", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=Path("languages.jsonl"), help="default: languages.jsonl")
    parser.add_argument("--after", choices=sorted(LANGUAGES), help="measure English styles, after that language")
    parser.add_argument("--times", action="store_true", help=f"compare CPU time, with {_TIMED} corrections")
    parser.add_argument("--word-forms", action="store_true", help="count captions whose word forms were all taught")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    options = parser.parse_args(arguments)
    if options.word_forms:
        print(word_forms(list(_cells(options))))
        return
    torch.set_num_threads(options.threads)
    most = _TIMED if options.times else max([*options.corrections, _LANGUAGE_FIRST])
    measurements = Measurements(options.model, FinetuneSettings.from_text(options.set), most=most)
    if options.times:
        compare_times(measurements, options.languages, repeats=options.seeds)
        return
    results, cells = Results(options.results), list(_cells(options))
    for cell in cells:
        if cell not in results.found:
            results.add(cell, measurements.result(cell))
            print(f"{cell}: {results.found[cell]}", flush=True)
    print(table(results, cells))


if __name__ == "__main__":
    main()
