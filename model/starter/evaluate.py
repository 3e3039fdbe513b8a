"""How well a model captions unseen scenes: `python -m captionloop.model.starter.evaluate [DIR]`."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.pool import IMAGE_SIZE, example
from captionloop.model.starter.scenes import caption, draw

# No training run draws from this series.
UNSEEN = "unseen"
_BATCH = 50


@dataclass(frozen=True)
class SceneScore:
    """Scores of captions against the canonical ones, 0 to 1."""

    exact: float
    bleu_4: float
    images: int

    def __str__(self) -> str:
        return f"exact match {self.exact:.4f}, BLEU-4 {self.bleu_4:.4f} on {self.images} unseen scenes"


def evaluate(
    directory: Path, *, images: int = 300, beams: int = 3, size: int = IMAGE_SIZE, dtype: torch.dtype = torch.float32
) -> SceneScore:
    """Captions the first `images` unseen scenes with a saved model.

    Args:
        directory: a BLIP directory, loaded with plain `transformers`.
        images: how many scenes.
        beams: 1 is greedy.
        size: side at which the pictures are drawn before the model's own resizing, in pixels.
        dtype: of the weights.
    """
    model = BlipForConditionalGeneration.from_pretrained(directory, dtype=dtype).eval()
    processor = BlipImageProcessor.from_pretrained(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    examples = [example(UNSEEN, index) for index in range(images)]
    expected = [caption(scene) for scene, _ in examples]
    found: list[str] = []
    for start in range(0, images, _BATCH):
        pictures: list[Image.Image] = [draw(scene, size, seed) for scene, seed in examples[start : start + _BATCH]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"].to(dtype)
        ids = model.generate(pixels, num_beams=beams, max_length=20, min_length=5)
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return score(found, expected)


def score(found: Sequence[str], expected: Sequence[str]) -> SceneScore:
    """Exact match and corpus BLEU-4 with one reference each (Papineni et al. 2002; words split at spaces)."""
    pairs = [(f.split(), e.split()) for f, e in zip(found, expected, strict=True)]
    exact = sum(f == e for f, e in pairs) / len(pairs)
    return SceneScore(exact, _bleu_4(pairs), len(pairs))


def _bleu_4(pairs: Sequence[tuple[list[str], list[str]]]) -> float:
    logs = 0.0
    for n in range(1, 5):
        matched = sum((_ngrams(f, n) & _ngrams(e, n)).total() for f, e in pairs)
        possible = sum(_ngrams(f, n).total() for f, _ in pairs)
        if not matched:
            return 0.0
        logs += math.log(matched / possible) / 4
    found_length, expected_length = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return math.exp(min(0.0, 1 - expected_length / found_length) + logs)


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "directory", nargs="?", type=Path, default=STARTER_DIR, help="model (default: the starter model)"
    )
    parser.add_argument("--images", type=int, default=300, help="unseen scenes (default 300)")
    parser.add_argument("--size", type=int, default=IMAGE_SIZE, help="side of the drawn pictures (default 96 pixels)")
    options = parser.parse_args()
    for dtype in (torch.float32, torch.bfloat16):
        for beams in (3, 1):
            found = evaluate(options.directory, images=options.images, beams=beams, size=options.size, dtype=dtype)
            print(f"{str(dtype).removeprefix('torch.')}, {beams} beam{'s' * (beams > 1)}: {found}", flush=True)


if __name__ == "__main__":
    main()
