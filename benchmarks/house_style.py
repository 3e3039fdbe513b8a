"""How quickly the starter model learns a house style: `python -m benchmarks.house_style [--model DIR]`.

A person corrects the captions of 20, 60 or 160 scenes to a style of their own; the decoder is fine-tuned on those with
one fixed recipe, image features cached; then the captions of unseen scenes are compared with what the style asks for.
The styles `new_*` use words that the starter model never met.
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
from benchmarks.styles import STYLES
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, draw

_STEPS, _BATCH, _RATE = 300, 16, 1e-3


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
