"""How quickly the starter model learns a house style: `python -m benchmarks.house_style [--curve FILE.svg]`.

20 to 320 captions of drawn scenes are corrected to a house style. The model is fine-tuned on them as in a run: a fifth
of the images is held out for the gate, with default settings. Then it captions unseen scenes, and each caption is
compared exactly with the one in the style.

`--styles de zh` has the person write in another language (`model/starter/languages.py`), which extends the vocabulary.
`--careless 0.15` spoils that share of the corrections: a wrong colour, a dropped word, or a typing error.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, generation_for
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.dataset.split import split_images
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.languages import LANGUAGES
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import COLOURS, Scene, draw
from captionloop.model.starter.styles import STYLES
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.vocabulary.style_tokens import tokens_for

_DRAWN_AT_ONCE = 50
_WRITERS = {**STYLES, **LANGUAGES}


@dataclass(frozen=True)
class Pool:
    """Scenes by a name in hexadecimal digits, with the base encoder's output: float (patches + 1, hidden) each."""

    scenes: dict[str, Scene]
    seeds: dict[str, int]
    features: dict[str, Tensor]

    def picture(self, name: str) -> Image:
        return draw(self.scenes[name], seed=self.seeds[name])


class Learner:
    """A base model and what a person does with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = self._captioner(load_checkpoint(directory), GenerationSettings())

    def pool(self, split: str, count: int, *, of: Callable[[Scene], bool] = lambda scene: True) -> Pool:
        """The first scenes of a series that are `of` some sort."""
        scenes: dict[str, Scene] = {}
        seeds: dict[str, int] = {}
        features: dict[str, Tensor] = {}
        endless = ((f"{index:08x}", example(split, index)) for index in itertools.count())
        wanted = itertools.islice((found for found in endless if of(found[1][0])), count)
        while some := dict(itertools.islice(wanted, _DRAWN_AT_ONCE)):
            encoded = self.base.encode([draw(scene, seed=seed) for scene, seed in some.values()])
            scenes |= {name: scene for name, (scene, _) in some.items()}
            seeds |= {name: seed for name, (_, seed) in some.items()}
            features |= dict(zip(some, encoded.float(), strict=True))
        return Pool(scenes, seeds, features)

    def corrected(
        self,
        pool: Pool,
        captions: dict[str, str],
        settings: FinetuneSettings,
        *,
        styles: Mapping[str, str] | None = None,
        begun: Captioner | None = None,
    ) -> Captioner:
        """The model after one run on these captions.

        Args:
            styles: scene → the style of its caption, where that has a name.
            begun: the version to start from; None for the base.
        """
        of_scenes = styles or {}
        train = split_images(captions).train
        start = begun.checkpoint if begun else load_checkpoint(self.directory)
        tokens = tokens_for(sorted(set(of_scenes.values())), start.tokenizer, known={})
        result = finetune(
            start,
            [
                Example(number, name, captions[name], style=of_scenes.get(name))
                for number, name in enumerate(train, start=1)
            ],
            settings=settings,
            features=pool.features,
            pictures=pool.picture,
            tell=partial(_said, begun or self.base, pool),
            style_tokens=tokens,
        )
        generation = generation_for(
            GenerationSettings(),
            result.checkpoint,
            [text for name, text in captions.items() if name not in of_scenes],
            in_styles={
                style: [captions[name] for name, found in of_scenes.items() if found == style] for style in tokens
            },
            tokens=tokens,
        )
        return self._captioner(result.checkpoint, generation)

    def _captioner(self, checkpoint: Checkpoint, generation: GenerationSettings) -> Captioner:
        return Captioner(checkpoint, version="benchmark", generation=generation)


def _said(captioner: Captioner, pool: Pool, names: Sequence[str]) -> dict[str, str]:
    suggestions = captioner.caption_features(torch.stack([pool.features[name] for name in names]))
    return {name: suggestion.caption for name, suggestion in zip(names, suggestions, strict=True)}


def exact(captioner: Captioner, pool: Pool, style: Callable[[Scene], str], *, own_encoder: bool = False) -> float:
    """The share of scenes whose caption is what the style asks for.

    Args:
        own_encoder: look at the pictures with the captioner's encoder, as a run that trained it makes necessary.
    """
    names = list(pool.scenes)
    right = 0
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        if own_encoder:
            suggestions = captioner.caption([pool.picture(name) for name in some])
        else:
            suggestions = captioner.caption_features(torch.stack([pool.features[name] for name in some]))
        right += sum(s.caption == style(pool.scenes[name]) for name, s in zip(some, suggestions, strict=True))
    return right / len(names)


def spoilt(caption: str, rng: random.Random) -> str:
    """A correction by somebody who does not look: a wrong colour, a word less, or a typing error."""
    words = caption.split()
    coloured = [place for place, word in enumerate(words) if word.strip(",;.") in COLOURS]
    kind = rng.choice(["colour", "word", "typing"])
    if kind == "colour" and coloured:
        words[rng.choice(coloured)] = rng.choice(sorted(COLOURS))
    elif kind == "word" and len(words) > 1:
        words.pop(rng.randrange(len(words)))
    else:
        place = rng.randrange(len(words))
        letters = list(words[place])
        letters.insert(rng.randrange(len(letters) + 1), rng.choice("abcdefghijklmnopqrstuvwxyz"))
        words[place] = "".join(letters)
    return " ".join(words)


def captions_of(pool: Pool, style: Callable[[Scene], str], *, careless: float, seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    captions = {name: style(scene) for name, scene in pool.scenes.items()}
    return {name: spoilt(text, rng) if rng.random() < careless else text for name, text in captions.items()}


def plot(figures: dict[str, dict[int, list[float]]], path: Path) -> None:
    """The learning curves: the mean over seeds, and each seed as a dot."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 4))).subplots()
    for name, by_size in figures.items():
        (line,) = axes.plot(list(by_size), [statistics.mean(found) for found in by_size.values()], label=name)
        for size, found in by_size.items():
            axes.plot([size] * len(found), found, ".", color=line.get_color(), alpha=0.5)
    axes.set(xlabel="corrections", ylabel="exactly right captions of unseen scenes", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=STARTER_DIR)
    parser.add_argument("--corrections", type=int, nargs="+", default=[20, 60, 160, 320])
    parser.add_argument("--styles", nargs="+", choices=sorted(_WRITERS), default=list(STYLES))
    parser.add_argument("--unseen", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--careless", type=float, default=0.0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    parser.add_argument("--curve", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    settings = FinetuneSettings.from_text(options.set)
    learner = Learner(options.model)
    unseen = learner.pool("unseen", options.unseen)
    pools = [learner.pool(f"corrections-{seed}", max(options.corrections)) for seed in range(options.seeds)]
    figures: dict[str, dict[int, list[float]]] = {}
    for name in options.styles:
        for count in options.corrections:
            begun, found = time.monotonic(), []
            for seed, pool in enumerate(pools):
                captions = captions_of(pool, _WRITERS[name], careless=options.careless, seed=seed)
                captioner = learner.corrected(pool, dict(list(captions.items())[:count]), replace(settings, seed=seed))
                found.append(exact(captioner, unseen, _WRITERS[name], own_encoder=settings.trains_encoder))
            figures.setdefault(name, {})[count] = found
            seconds, each = (time.monotonic() - begun) / len(found), " ".join(f"{value:.3f}" for value in found)
            mean = statistics.mean(found)
            print(f"{name:20} {count:4} corrections: exact match {mean:.3f} ({each}; {seconds:.0f} s each)", flush=True)
    if options.curve:
        plot(figures, options.curve)


if __name__ == "__main__":
    main()
