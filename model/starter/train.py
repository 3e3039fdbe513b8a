"""Trains the starter model from scratch: `python -m captionloop.model.starter.train --seed 0 --out DIR`.

The image encoder is trained with auxiliary heads that are dropped afterwards: on each patch, the thing there, its
colour, its size and whether it is named first, second or third; on the class token, the number of things and their
relation. The decoder is trained on two texts for each picture, the canonical caption and one other wording, with some
input words replaced at random, so that it relies on the picture more than on the preceding words. The canonical caption
has the larger weight, and so stays the most likely one.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from captionloop.model.starter.drawing import layout
from captionloop.model.starter.evaluate import evaluate
from captionloop.model.starter.pool import IMAGE_SIZE, drawn, example
from captionloop.model.starter.scenes import COLOURS, KINDS, RELATIONS, SIZES, Scene, caption, wordings
from captionloop.model.starter.vocabulary import build_tokenizer

_log = logging.getLogger(__name__)

_PATCH = 12
_GRID = IMAGE_SIZE // _PATCH
_HIDDEN = 128
_LONGEST = 128

_BATCH = 32
_WARM_UP_STEPS = 100
_MUON_RATE = 4e-3
_ADAMW_RATE = 2e-3
_SMOOTHING = 0.1
# Weight of the other wordings in the decoder's loss: enough to learn words, too little to write them by default.
_WORDINGS_SHARE = 0.4
_REPLACED_WORDS = 0.08
_HELP_WEIGHT = 1.0
# Pixels; under a quarter of a patch, so that the heads' targets per patch stay true.
_MOST_MOVED = 3

# Classes of the heads on each patch, "nothing there" first, and of those on the class token.
_PATCH_CHOICES = (len(KINDS) + 1, len(COLOURS) + 1, len(SIZES) + 1, 4)
_CLASS_CHOICES = (len(RELATIONS) + 1, 3)


@dataclass(frozen=True)
class Batch:
    """The batch of one step: `images` as drawn, both texts of each picture, and the heads' targets.

    Args:
        images: uint8 (B, IMAGE_SIZE, IMAGE_SIZE, 3)
        texts: 2 B captions; the canonical ones first.
        patches: int64 (B, patches, heads)
        whole: int64 (B, heads)
    """

    images: Tensor
    texts: list[str]
    patches: Tensor
    whole: Tensor


class Helpers(nn.Module):
    """The auxiliary heads of the image encoder, dropped after training."""

    def __init__(self) -> None:
        super().__init__()
        self.on_patches = nn.Linear(_HIDDEN, sum(_PATCH_CHOICES))
        self.on_class_token = nn.Linear(_HIDDEN, sum(_CLASS_CHOICES))

    def forward(self, image_embeds: Tensor, batch: Batch) -> Tensor:
        """The heads' mean loss for `image_embeds`: float (B, patches + 1, hidden)."""
        on_patches = self.on_patches(image_embeds[:, 1:]).float().split(_PATCH_CHOICES, dim=-1)
        on_class = self.on_class_token(image_embeds[:, 0]).float().split(_CLASS_CHOICES, dim=-1)
        losses = [
            functional.cross_entropy(x.flatten(0, 1), batch.patches[..., i].flatten()) for i, x in enumerate(on_patches)
        ]
        losses += [functional.cross_entropy(x, batch.whole[:, i]) for i, x in enumerate(on_class)]
        return torch.stack(losses).mean()


def build_model(tokenizer: BertTokenizerFast) -> BlipForConditionalGeneration:
    """An untrained BLIP of the starter's size; its configuration names special tokens as the published ones do."""
    start = len(tokenizer)
    text = {
        "vocab_size": start + 2,
        "hidden_size": _HIDDEN,
        "encoder_hidden_size": _HIDDEN,
        "intermediate_size": 4 * _HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": _LONGEST,
        "projection_dim": _HIDDEN,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": start,
        "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "label_smoothing": 0.0,
        "is_decoder": True,
        "tie_word_embeddings": True,
    }
    vision = {
        "hidden_size": _HIDDEN,
        "intermediate_size": 4 * _HIDDEN,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": _PATCH,
        # The class's own default, 1e-10, makes a tower that never learns.
        "initializer_range": 0.02,
    }
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=_HIDDEN, image_text_hidden_size=_HIDDEN)
    model = BlipForConditionalGeneration._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        model.vision_model.embeddings.position_embedding[0, 1:] = _positions() * 0.1
    return model


def build_image_processor() -> BlipImageProcessor:
    """BLIP's own preparation of pictures, at the starter's size."""
    return BlipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})


def _positions() -> Tensor:
    """Sine and cosine of each patch's row and column: float32 (patches, hidden). Learning them from noise is slow."""
    waves = _HIDDEN // 4
    rates = 1.0 / (50 ** (torch.arange(waves) / waves))
    angles = torch.arange(_GRID)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = line[:, None].expand(_GRID, _GRID, -1)
    columns = line[None].expand(_GRID, _GRID, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def patch_targets(scene: Scene, *, picture_seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Targets of the heads: what is under each patch's centre, as class indices, int64 (patches, heads)."""
    targets = np.zeros((_GRID, _GRID, len(_PATCH_CHOICES)), dtype=np.int64)
    middles = (np.arange(_GRID) + 0.5) / _GRID
    places = layout(scene, seed=picture_seed)
    # From the back to the front, so that a nearer thing hides the one behind it.
    for index in reversed(range(len(places))):
        thing, place = scene.things[index], places[index]
        # Slightly more than the box, so that a small thing between patch centres is not missed.
        reach = max(place.radius * 0.95, 0.6 / _GRID)
        inside = (np.abs(middles[:, None] - place.y) < reach) & (np.abs(middles[None] - place.x) < reach)
        targets[inside] = (
            1 + KINDS.index(thing.kind),
            1 + COLOURS.index(thing.colour),
            1 + SIZES.index(thing.size),
            1 + index,
        )
    return targets.reshape(_GRID * _GRID, -1)


class Examples:
    """The training pictures with their scenes."""

    def __init__(self, directory: Path, *, split: str, count: int, workers: int) -> None:
        self._images = drawn(directory, split=split, count=count, workers=workers)
        described = [example(split, index) for index in range(count)]
        self._scenes = [scene for scene, _ in described]
        self._patches = np.stack([patch_targets(scene, picture_seed=seed) for scene, seed in described]).astype(
            np.uint8
        )

    def batch(self, indices: Sequence[int], rng: random.Random) -> Batch:
        """The pictures at `indices`, each with its canonical caption and a fresh other wording."""
        scenes = [self._scenes[index] for index in indices]
        whole = [(_relation_index(scene), len(scene.things) - 1) for scene in scenes]
        return Batch(
            images=torch.from_numpy(self._images[indices]),
            texts=[*map(caption, scenes), *(wordings(scene, rng) for scene in scenes)],
            patches=torch.from_numpy(self._patches[indices].astype(np.int64)),
            whole=torch.tensor(whole),
        )

    def __len__(self) -> int:
        return len(self._scenes)


def _relation_index(scene: Scene) -> int:
    return 0 if scene.relation is None else 1 + RELATIONS.index(scene.relation)


class TrainingRun:
    """A training run between two steps; it can be saved and resumed.

    Batches depend on the seed and the step alone, so that a resumed run continues as if it had not been stopped.
    """

    def __init__(self, *, seed: int, steps: int) -> None:
        torch.manual_seed(seed)
        self.seed, self.steps, self.step = seed, steps, 0
        self.tokenizer, self.image_processor = build_tokenizer(), build_image_processor()
        self.model, self.helpers = build_model(self.tokenizer), Helpers()
        self._parameters = [*self.model.parameters(), *self.helpers.parameters()]
        self._optimizers = _optimizers(self.model, self.helpers)
        self._rates = [group["lr"] for optimizer in self._optimizers for group in optimizer.param_groups]

    def advance(self, examples: Examples) -> Tensor:
        """Takes one step; the losses of canonical captions, other wordings and helpers: float32 (3,)."""
        torch.manual_seed(self.seed + self.step)
        batch = examples.batch(
            _indices(len(examples), seed=self.seed, step=self.step),
            random.Random(f"{self.seed} {self.step}"),  # noqa: S311
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pixels = _pixels(batch.images, self.image_processor)
            image_embeds = self.model.vision_model(pixel_values=pixels).last_hidden_state
            help_loss = self.helpers(image_embeds, batch)
            canonical_loss, wordings_loss = _text_losses(self.model, self.tokenizer, batch.texts, image_embeds)
        loss = (1 - _WORDINGS_SHARE) * canonical_loss + _WORDINGS_SHARE * wordings_loss + _HELP_WEIGHT * help_loss
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * _share_of_rate(self.step, self.steps)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return torch.stack([canonical_loss, wordings_loss, help_loss]).detach().float()

    def store(self, path: Path) -> None:
        """Writes all that the next step needs."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "helpers": self.helpers.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        unfinished = path.with_suffix(".unfinished")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def take_up(self, path: Path) -> None:
        """Restores what `store` wrote."""
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.helpers.load_state_dict(state["helpers"])
        for optimizer, stored in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)


def train(out: Path, *, seed: int, steps: int, pictures: int, cache: Path, workers: int) -> None:
    """Trains until step `steps` and writes the model, its tokenizer and its image processor to `out`.

    Args:
        out: directory to write; made if missing.
        seed: of initial weights, pictures and their order. Exact weights also depend on machine and threads.
        steps: optimizer steps of 32 pictures each. With more steps than before, a run resumes that has not begun its
            last quarter, in which the rate falls.
        pictures: how many are drawn; each is repeated with different wordings.
        cache: directory of drawn pictures and of the run's state.
        workers: processes that draw.
    """
    run = TrainingRun(seed=seed, steps=steps)
    state = cache / f"run-{seed}.pt"
    if state.exists():
        run.take_up(state)
        _log.info("taken up at step %d", run.step)
    examples = Examples(cache, split=f"train-{seed}", count=pictures, workers=workers)
    begin, losses = time.monotonic(), []
    while run.step < steps:
        losses.append(run.advance(examples))
        if run.step % 100 == 0:
            minutes = (time.monotonic() - begin) / 60
            means = torch.stack(losses).mean(0).tolist()
            _log.info(
                "step %d of %d  caption %.3f  wording %.3f  help %.3f  %.1f min", run.step, steps, *means, minutes
            )
            losses.clear()
        if run.step % 500 == 0 and run.step <= _begin_of_fall(steps):
            run.store(state)
        if run.step % 2000 == 0:
            save(out, run.model, run.tokenizer, run.image_processor)
            _log.info("%s", evaluate(out, images=100, beams=1))
    save(out, run.model, run.tokenizer, run.image_processor)
    _log.info("%s", evaluate(out, images=300, beams=1))


def save(
    out: Path,
    model: BlipForConditionalGeneration,
    tokenizer: BertTokenizerFast,
    image_processor: BlipImageProcessor,
) -> None:
    """Writes a plain BLIP directory with fp16 weights."""
    half = BlipForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    image_processor.save_pretrained(out)


def _optimizers(model: nn.Module, helpers: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon on the matrices inside the layers; AdamW on the rest, heads and embeddings among them."""
    named = list(model.named_parameters())
    matrices = [
        p for name, p in named if p.ndim == 2 and "embeddings" not in name and "cls.predictions.decoder" not in name
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen] + list(helpers.parameters())
    return [
        torch.optim.Muon(matrices, lr=_MUON_RATE, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=_ADAMW_RATE, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def _share_of_rate(step: int, steps: int) -> float:
    """The share of the full learning rate: a linear warm-up, a plateau, and a linear fall over the last quarter.

    On the plateau the rate does not depend on the number of steps, so a run can be extended. See Hägele et al. 2024,
    "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations".
    """
    fall = (steps - step) / (steps - _begin_of_fall(steps))
    return min((step + 1) / _WARM_UP_STEPS, 1.0, fall)


def _begin_of_fall(steps: int) -> int:
    return 3 * steps // 4


def _indices(count: int, *, seed: int, step: int) -> list[int]:
    """The pictures of one step: passes over all of them, each pass in its own order."""
    batches = count // _BATCH
    order = np.random.default_rng((seed, step // batches)).permutation(count)
    begin = step % batches * _BATCH
    return order[begin : begin + _BATCH].tolist()


def _pixels(images: Tensor, image_processor: BlipImageProcessor) -> Tensor:
    """Normalised pixels, float32 (B, 3, height, width), moved a little, with brightness and contrast varied."""
    mean, deviation = torch.tensor(image_processor.image_mean), torch.tensor(image_processor.image_std)
    gain = 1 + 0.16 * (torch.rand(len(images), 1, 1, 1) - 0.5)
    shift = 0.10 * (torch.rand(len(images), 1, 1, 3) - 0.5)
    pixels = ((images.float() / 255 * gain + shift - mean) / deviation).permute(0, 3, 1, 2)
    wider = functional.pad(pixels, (_MOST_MOVED,) * 4, mode="replicate")
    down, right = torch.randint(2 * _MOST_MOVED + 1, (2,)).tolist()
    return wider[:, :, down : down + IMAGE_SIZE, right : right + IMAGE_SIZE].contiguous()


def _text_losses(
    model: BlipForConditionalGeneration, tokenizer: BertTokenizerFast, texts: list[str], image_embeds: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean losses per token of the canonical captions and of the other wordings."""
    # Few different lengths, since each new one costs the processor's matrix kernels a compilation.
    encoded = tokenizer(
        texts, padding=True, pad_to_multiple_of=8, truncation=True, max_length=_LONGEST, return_tensors="pt"
    )
    labels = encoded["input_ids"].clone()
    labels[encoded["attention_mask"] == 0] = -100
    inputs = _with_replaced_words(encoded["input_ids"], tokenizer)
    # Training starts with [DEC], as generation does; the tokenizer puts [CLS] there.
    inputs[:, 0] = model.config.text_config.bos_token_id
    logits = model.text_decoder(
        input_ids=inputs, attention_mask=encoded["attention_mask"], encoder_hidden_states=image_embeds.repeat(2, 1, 1)
    ).logits
    canonical, other = (
        functional.cross_entropy(
            some_logits[:, :-1].flatten(0, 1).float(), some_labels[:, 1:].flatten(), label_smoothing=_SMOOTHING
        )
        for some_logits, some_labels in zip(logits.chunk(2), labels.chunk(2), strict=True)
    )
    return canonical, other


def _with_replaced_words(ids: Tensor, tokenizer: BertTokenizerFast) -> Tensor:
    """The same ids with a few words replaced at random, for robustness against unusual words."""
    replace = (torch.rand(ids.shape) < _REPLACED_WORDS) & (ids >= len(tokenizer.all_special_tokens))
    return torch.where(replace, torch.randint(5, len(tokenizer), ids.shape), ids)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--seed", type=int, default=0, help="first weights, pictures and their order (default 0)")
    parser.add_argument("--steps", type=int, default=8_000, help="steps of 32 pictures (default 8000)")
    parser.add_argument("--pictures", type=int, default=34_000, help="pictures to draw (default 34000, 0.9 GB)")
    parser.add_argument(
        "--cache", type=Path, help="keep drawn pictures and an unfinished run here (default: do not keep)"
    )
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default 2)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        train(
            options.out,
            seed=options.seed,
            steps=options.steps,
            pictures=options.pictures,
            cache=cache,
            workers=options.threads,
        )


if __name__ == "__main__":
    main()
