"""Forgetting, by the share of replayed corrections: `python -m benchmarks.replay`.

The model is fine-tuned on 60 corrections of drawn scenes with only half of the kinds of things. Then a second run is
trained on 20 corrections of scenes with the other kinds, starting from the first one's result and replaying a share of
the older corrections. Exact match is measured on unseen scenes of both.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.house_style import Learner, Pool, captions_of, exact

from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.captions.orthography import learn_writing
from captionloop.model.captions.text import encode_caption
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.replay import with_replay
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.scenes import KINDS, Scene
from captionloop.model.starter.styles import STYLES
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings

_STYLE = STYLES["new_words"]


def has_first_kinds(scene: Scene) -> bool:
    return {thing.kind for thing in scene.things} <= set(KINDS[::2])


def has_other_kinds(scene: Scene) -> bool:
    return {thing.kind for thing in scene.things} <= set(KINDS[1::2])


def snapshot(name: str, captions: dict[str, str]) -> Snapshot:
    """A snapshot as in a run; a correction is numbered by its scene."""
    examples = tuple(Example(int(image, 16), image, caption) for image, caption in captions.items())
    return Snapshot(hash=name, path=Path(name), examples=examples)


def learnt(start: Checkpoint, examples: Sequence[Example], pool: Pool, settings: FinetuneSettings) -> Checkpoint:
    """The fine-tuned version; the gate's held-out images are not among the examples."""
    return finetune(start, examples, settings=settings, features=pool.features).checkpoint


def on_the_training_side(taken: Snapshot) -> list[Example]:
    train = set(taken.split().train)
    return [example for example in taken.examples if example.image in train]


def scores(checkpoint: Checkpoint, captions: Sequence[str], pools: Sequence[Pool]) -> list[float]:
    generation = GenerationSettings().following(len(encode_caption(checkpoint.tokenizer, text)) for text in captions)
    captioner = Captioner(
        copy.deepcopy(checkpoint),
        version="benchmark",
        generation=replace(generation, writing=learn_writing(captions)),
    )
    return [exact(captioner, pool, _STYLE) for pool in pools]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--older", type=int, default=60, help="corrections of the first run")
    parser.add_argument("--new", type=int, default=20, help="corrections that come after it")
    parser.add_argument("--replay", type=float, nargs="+", default=[0, 0.1, 0.25, 0.5, 1])
    parser.add_argument("--unseen", type=int, default=300, help="scenes of each half to measure on")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    learner, base = Learner(STARTER_DIR), load_checkpoint(STARTER_DIR)
    unseen = [learner.pool("unseen", options.unseen, of=half) for half in (has_first_kinds, has_other_kinds)]
    figures: dict[str, list[list[float]]] = {}
    for seed in range(options.seeds):
        settings = FinetuneSettings(seed=seed)
        older = learner.pool(f"corrections-{seed}", options.older, of=has_first_kinds)
        newer = learner.pool(f"corrections-{seed}", options.new, of=has_other_kinds)
        both = Pool(
            scenes=older.scenes | newer.scenes,
            seeds=older.seeds | newer.seeds,
            features=older.features | newer.features,
        )
        captions = captions_of(both, _STYLE, careless=0.0, seed=seed)
        before = snapshot(f"before {seed}", {name: captions[name] for name in older.scenes})
        champion = learnt(base, on_the_training_side(before), older, settings)
        figures.setdefault("before", []).append(scores(champion, list(captions.values()), unseen))
        now = on_the_training_side(snapshot(f"now {seed}", captions))
        for share in options.replay:
            chosen = with_replay(now, before, share=share, seed=seed)
            candidate = learnt(champion, chosen, both, settings)
            figures.setdefault(f"{share:g}", []).append(scores(candidate, list(captions.values()), unseen))
    print("replay      older kinds   new kinds   (exact match, mean over seeds)")
    for name, found in figures.items():
        first, other = (statistics.mean(column) for column in zip(*found, strict=True))
        print(f"{name:9} {first:13.3f} {other:11.3f}")


if __name__ == "__main__":
    main()
