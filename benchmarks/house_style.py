"""How quickly the starter model learns a house style: `python benchmarks/house_style.py [--model DIR]`.

A person corrects the captions of 20, 60 or 160 scenes to a style of their own; the decoder is fine-tuned on those with
one fixed recipe, image features cached; then the captions of unseen scenes are compared with what the style asks for.
The styles below are not among the wordings that the starter model was trained on. `new_*` use words that it never met.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, Thing, draw

_STEPS, _BATCH, _RATE = 300, 16, 1e-3

_NEW_WORDS = {
    "small": "teeny", "large": "gigantic",
    "red": "maroon", "orange": "copper", "yellow": "blond", "green": "mint",
    "blue": "turquoise", "purple": "orchid", "pink": "peach", "white": "silver",
    "house": "villa", "tree": "willow", "car": "jeep", "boat": "ferry", "fish": "shark",
    "cat": "creature", "sun": "sunlight", "cloud": "fog", "flower": "tulip", "umbrella": "canopy",
}  # fmt: skip
_MET_WORDS = {
    "small": "tiny", "large": "big",
    "red": "crimson", "orange": "tangerine", "yellow": "golden", "green": "emerald",
    "blue": "azure", "purple": "violet", "pink": "rose", "white": "ivory",
    "house": "cottage", "tree": "oak", "car": "automobile", "boat": "ship", "fish": "goldfish",
    "cat": "kitten", "sun": "sunshine", "cloud": "puff", "flower": "blossom", "umbrella": "parasol",
}  # fmt: skip


def alt_text(scene: Scene) -> str:
    """Alt-text wording: kind first, attributes after it, plain words."""
    links = {"to the left of": "; to its right, ", "above": "; under it, ", "in front of": "; behind it, "}
    first, *others = (f"{t.kind}, {t.colour}, {t.size}" for t in scene.things)
    return f"illustration: {first}{links.get(scene.relation or '', '')}{' and '.join(others)}"


def met_words(scene: Scene) -> str:
    """The canonical order in other words, all of which the base has met."""
    return _canonical_order(scene, _MET_WORDS, {"to the left of": "left of", "above": "over", "in front of": "before"})


def new_words(scene: Scene) -> str:
    """The canonical order in words that the base has never met."""
    relations = {"to the left of": "alongside", "above": "topping", "in front of": "obscuring"}
    return _canonical_order(scene, _NEW_WORDS, relations)


def new_words_and_order(scene: Scene) -> str:
    """Words never met, the last thing first, and the colour last."""
    relations = {"to the left of": "opposite", "above": "underside", "in front of": "beyond"}
    things = [f"the {_NEW_WORDS[t.kind]}, {_NEW_WORDS[t.size]} and {_NEW_WORDS[t.colour]}" for t in scene.things]
    if scene.relation is None:
        return f"{things[0]}."
    return f"{' plus '.join(things[1:])} {relations[scene.relation]} {things[0]}."


def _canonical_order(scene: Scene, words: dict[str, str], relations: dict[str, str]) -> str:
    def phrase(thing: Thing) -> str:
        return f"one {words[thing.size]} {words[thing.colour]} {words[thing.kind]}"

    first, *others = map(phrase, scene.things)
    return f"{first} {relations[scene.relation]} {' and '.join(others)}" if scene.relation else first


STYLES: dict[str, Callable[[Scene], str]] = {
    style.__name__: style for style in (alt_text, met_words, new_words, new_words_and_order)
}


@dataclass(frozen=True)
class Seen:
    """Scenes with their features, float32 (count, patches + 1, hidden)."""

    scenes: list[Scene]
    features: Tensor


class Bench:
    """A base model and what fine-tuning and checking need of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.processor = BlipImageProcessor.from_pretrained(directory)

    def fresh(self) -> BlipForConditionalGeneration:
        return BlipForConditionalGeneration.from_pretrained(
            self.directory, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    @torch.inference_mode()
    def see(self, split: str, count: int) -> Seen:
        model = self.fresh()
        scenes, features = [], []
        for start in range(0, count, 50):
            examples = [example(split, index) for index in range(start, min(start + 50, count))]
            pictures = [draw(scene, seed=seed) for scene, seed in examples]
            pixels = self.processor(pictures, return_tensors="pt")["pixel_values"]
            scenes += [scene for scene, _ in examples]
            features.append(model.vision_model(pixel_values=pixels).last_hidden_state)
        return Seen(scenes, torch.cat(features).clone())

    def tuned(self, seen: Seen, style: Callable[[Scene], str], *, seed: int) -> BlipForConditionalGeneration:
        """The base after one fixed recipe on captions in a style."""
        torch.manual_seed(seed)
        rng = random.Random(seed)
        model = self.fresh()
        encoded = self.tokenizer([style(scene) for scene in seen.scenes], padding=True, return_tensors="pt")
        labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
        inputs = encoded["input_ids"].clone()
        inputs[:, 0] = model.config.text_config.bos_token_id
        optimizer = torch.optim.AdamW(model.text_decoder.parameters(), lr=_RATE, weight_decay=0.05)
        warm_up = 30
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / _STEPS)))
        )
        for _ in range(_STEPS):
            some = torch.tensor(rng.sample(range(len(seen.scenes)), min(_BATCH, len(seen.scenes))))
            longest = int(encoded["attention_mask"][some].sum(1).max())
            logits = model.text_decoder(
                input_ids=inputs[some, :longest],
                attention_mask=encoded["attention_mask"][some, :longest],
                encoder_hidden_states=seen.features[some],
            ).logits
            loss = functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[some, 1:longest].flatten(), label_smoothing=0.1
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.text_decoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return model

    @torch.inference_mode()
    def exact(
        self, model: BlipForConditionalGeneration, seen: Seen, style: Callable[[Scene], str], *, beams: int
    ) -> float:
        """The share of scenes whose caption is what the style asks for, token by token."""
        right = 0
        for start in range(0, len(seen.scenes), 100):
            features = seen.features[start : start + 100]
            ids = model.text_decoder.generate(
                input_ids=torch.full((len(features), 1), model.config.text_config.bos_token_id),
                attention_mask=torch.ones(len(features), 1, dtype=torch.long),
                encoder_hidden_states=features,
                eos_token_id=model.config.text_config.sep_token_id,
                pad_token_id=model.config.text_config.pad_token_id,
                num_beams=beams,
                max_length=48,
            )
            wanted = [
                self.tokenizer(style(s), add_special_tokens=False)["input_ids"]
                for s in seen.scenes[start : start + 100]
            ]
            special = set(self.tokenizer.all_special_ids) | {model.config.text_config.bos_token_id}
            right += sum(
                [i for i in row if i not in special] == want for row, want in zip(ids.tolist(), wanted, strict=True)
            )
        return right / len(seen.scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=STARTER_DIR)
    parser.add_argument("--corrections", type=int, nargs="+", default=[20, 60, 160])
    parser.add_argument("--unseen", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--styles", nargs="+", choices=sorted(STYLES), default=list(STYLES))
    options = parser.parse_args()
    torch.set_num_threads(2)
    bench = Bench(options.model)
    unseen = bench.see("unseen", options.unseen)
    for name in options.styles:
        style = STYLES[name]
        for corrections in options.corrections:
            begin, found = time.monotonic(), []
            for seed in range(options.seeds):
                seen = bench.see(f"corrections-{seed}", corrections)
                found.append(bench.exact(bench.tuned(seen, style, seed=seed), unseen, style, beams=options.beams))
            seconds = (time.monotonic() - begin) / options.seeds
            mean = sum(found) / len(found)
            print(f"{name:20} {corrections:4} corrections: exact match {mean:.3f} ({seconds:.0f} s each)", flush=True)


if __name__ == "__main__":
    main()
