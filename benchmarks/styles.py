"""One model, several styles: `python -m benchmarks.styles [--cells 100+60 180+60] [--file FILE.jsonl]`.

Captions of drawn scenes are corrected in one style, then others in another one, and the starter model is fine-tuned on
all of them in one run, as a project with both styles is. Then it captions unseen scenes in each style that it was
taught, and each caption is compared exactly with the one in that style. As in a run, a fifth of the images is held out.

A cell is a name of `CELLS`: how many captions of which styles, and with which seed. `--file` keeps what was measured, a
line for each cell and seed; those that are there already are not measured again, so a stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from benchmarks.house_style import Learner, Pool, exact

from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.scenes import Scene, caption
from captionloop.model.starter.styles import STYLES
from captionloop.model.training.settings import FinetuneSettings

Manner = Callable[[Scene], str]
UNNAMED = "without a name"


def _begins_otherwise(scene: Scene) -> str:
    """The words of `met_words`, but for the first."""
    return STYLES["met_words"](scene).replace("one ", "some ", 1)


def _sentence(scene: Scene) -> str:
    """The words of `met_words`, as a sentence: what the normal form drops."""
    text = STYLES["met_words"](scene)
    return f"{text[0].upper()}{text[1:]}"


def _title(scene: Scene) -> str:
    """The same with a capital on each word."""
    return STYLES["met_words"](scene).title()


MANNERS: dict[str, Manner] = {
    **STYLES,
    "canonical": caption,
    "begins_otherwise": _begins_otherwise,
    "sentence": _sentence,
    "title": _title,
}


@dataclass(frozen=True)
class Part:
    """So many captions in a manner.

    Args:
        first: the first of their scenes, so that equal parts of two cells are the same captions.
        style: that they belong to; None has no name.
    """

    count: int
    manner: str
    first: int = 0
    style: str | None = None


# Of 180 + 60 + 60 scenes; the newer style's are those from 200 on.
CELLS: dict[str, tuple[Part, ...]] = {
    "0+60": (Part(60, "new_words", 200),),
    "30 alone": (Part(30, "new_words", 200),),
    "100+60 as one": (Part(100, "alt_text"), Part(60, "new_words", 200)),
    "100+60": (Part(100, "alt_text"), Part(60, "new_words", 200, "new")),
    "180+60": (Part(180, "alt_text"), Part(60, "new_words", 200, "new")),
    "100+30": (Part(100, "alt_text"), Part(30, "new_words", 200, "new")),
    "a third": (Part(100, "alt_text"), Part(60, "new_words", 200, "new"), Part(60, "met_words", 260, "third")),
    "words shared": (Part(100, "met_words"), Part(60, "begins_otherwise", 200, "new")),
    "capitals only": (Part(100, "sentence"), Part(60, "title", 200, "new")),
    "switched back": (Part(60, "alt_text"), Part(60, "new_words", 200, "new"), Part(40, "alt_text", 260)),
}
_SCENES = 320


@dataclass(frozen=True)
class Measured:
    """The share of unseen scenes with the right caption, 0 to 1, by style."""

    cell: str
    seed: int
    unseen: int
    exact: dict[str, float]


def measured(learner: Learner, cell: str, pool: Pool, unseen: Pool, settings: FinetuneSettings) -> Measured:
    captions: dict[str, str] = {}
    styles: dict[str, str] = {}
    manners: dict[str | None, Manner] = {}
    for part in CELLS[cell]:
        manners[part.style] = MANNERS[part.manner]
        for name, scene in islice(pool.scenes.items(), part.first, part.first + part.count):
            captions[name] = MANNERS[part.manner](scene)
            if part.style is not None:
                styles[name] = part.style
    captioner = learner.corrected(pool, captions, settings, styles=styles)
    found = {style or UNNAMED: exact(captioner.in_style(style), unseen, manner) for style, manner in manners.items()}
    return Measured(cell, settings.seed, len(unseen.scenes), found)


class Kept:
    """What was measured, in a file, a line for each cell and seed; without a file in memory alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self._found = [Measured(**json.loads(line)) for line in lines]

    def has(self, cell: str, seed: int, unseen: int) -> bool:
        return any((found.cell, found.seed, found.unseen) == (cell, seed, unseen) for found in self._found)

    def add(self, found: Measured) -> None:
        self._found.append(found)
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(found)) + "\n")

    def table(self, cells: Sequence[str], unseen: int) -> str:
        """In Markdown, a row for each cell: the mean over seeds, and each seed."""
        rows = ["| corrections | exact match in each style |", "| --- | --- |"]
        for cell in cells:
            found = [each.exact for each in self._found if (each.cell, each.unseen) == (cell, unseen)]
            styles = list(found[0]) if found else []
            rows.append(
                f"| {cell} | {'; '.join(_figure(style, [each[style] for each in found]) for style in styles)} |"
            )
        return "\n".join(rows)


def _figure(style: str, values: Sequence[float]) -> str:
    return f"{style} {statistics.mean(values):.3f} ({' '.join(f'{value:.3f}' for value in values)})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=STARTER_DIR)
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--unseen", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--file", type=Path, help="keeps what was measured, and is gone on from")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = FinetuneSettings.from_text(options.set)
    learner, kept = Learner(options.model), Kept(options.file)
    unseen = learner.pool("unseen", options.unseen)
    for seed in options.seeds:
        left = [cell for cell in options.cells if not kept.has(cell, seed, options.unseen)]
        pool = learner.pool(f"corrections-{seed}", _SCENES) if left else None
        for cell in left:
            assert pool is not None
            kept.add(found := measured(learner, cell, pool, unseen, replace(settings, seed=seed)))
            print(f"{cell}, seed {seed}: {found.exact}", file=sys.stderr, flush=True)
    print(kept.table(options.cells, options.unseen))


if __name__ == "__main__":
    main()
