"""Fine-tuning the caption decoder on corrections, with the image encoder frozen and its output given.

`finetune` is the whole run, top to bottom. The text it trains on is the text that generation sees: the decoder starts
from [DEC] (the id from the config; published tokenizers lack the token), has to write the caption and [SEP], and is not
asked for the prompt or for padding. `transformers` does none of that by itself. The loss is computed here, so that the
label smoothing of training is never in a figure that scores.

Shapes: B examples in a batch, L tokens, P image patches, H width of the image encoder.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BlipForConditionalGeneration, PreTrainedTokenizerBase

from captionloop.errors import RunCancelled, RunError, SettingsError
from captionloop.model.checkpoint import Checkpoint
from captionloop.model.fields import refuse_unknown
from captionloop.model.text import encode_caption, is_representable, normalise_caption

logger = logging.getLogger(__name__)

IGNORED = -100  # a label that nothing is asked for; the default of `cross_entropy`

FeatureSource = Callable[[Sequence[str]], Tensor] | Mapping[str, Tensor]
"""Image hashes → encoder output, float (B, P+1, H); or each image's own (P+1, H) by its hash."""


@dataclass(frozen=True, slots=True)
class Example:
    """One caption of one image. `weight` multiplies its share of the loss."""

    id: str
    image_hash: str
    caption: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """An example that was not trained on, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. The loss is smoothed over some ten steps and has label smoothing in it."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    examples_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """The new checkpoint (the old one is untouched; they share the frozen encoder), and what was done.

    Args:
        checkpoint: in evaluation mode, on the device of the one that was given.
        settings: with nothing left to choose: the learning rate and the number of steps that were used.
        examples: how many were trained on.
        rejected: those that were not.
        losses: of each step, with label smoothing.
        seconds: duration of the run.
    """

    checkpoint: Checkpoint
    settings: FinetuneSettings
    examples: int
    rejected: tuple[Rejected, ...]
    losses: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class FinetuneSettings:
    """How to train. What each value gained or cost is in docs/training.md.

    Args:
        learning_rate: peak rate of AdamW; None chooses by the decoder's width (`default_learning_rate`).
        steps: optimiser steps; None chooses by the number of examples (`default_steps`).
        batch_size: examples per step.
        weight_decay: decoupled, BLIP's own 0.05; not on biases, norms and position embeddings.
        warmup_share: share of the steps in which the rate rises from 0; it then falls along a cosine to 0.
        max_gradient_norm: longer gradients are shortened to it.
        label_smoothing: in training only, BLIP's own 0.1.
        dropout: on hidden states and attention, BERT's own 0.1.
        prompt: what the decoder is given before the caption (see `GenerationSettings.prompt`).
        seed: of the data order and dropout. On one machine with one number of threads, same seed, same weights.

    Raises:
        SettingsError: a value that cannot be used; the message names setting, value and what is expected.
    """

    learning_rate: float | None = None
    steps: int | None = None
    batch_size: int = 16
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    max_gradient_norm: float = 1.0
    label_smoothing: float = 0.1
    dropout: float = 0.1
    prompt: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            good = _is_number(self.learning_rate) and 0 < self.learning_rate <= 1
            _check("learning_rate", self.learning_rate, good, "a number above 0, at most 1")
        if self.steps is not None:
            _check("steps", self.steps, _is_whole(self.steps) and self.steps > 0, "a whole number above 0")
        _check(
            "batch_size", self.batch_size, _is_whole(self.batch_size) and self.batch_size > 0, "a whole number above 0"
        )
        _check("seed", self.seed, _is_whole(self.seed) and self.seed >= 0, "a whole number from 0")
        _check("prompt", self.prompt, isinstance(self.prompt, str), "a text")
        good = _is_number(self.max_gradient_norm) and self.max_gradient_norm > 0
        _check("max_gradient_norm", self.max_gradient_norm, good, "a number above 0")
        for name in ("weight_decay", "warmup_share", "label_smoothing", "dropout"):
            value = getattr(self, name)
            _check(name, value, _is_number(value) and 0 <= value < 1, "a number from 0 to below 1")

    def to_dict(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FinetuneSettings:
        """The mirror of `to_dict`; what is missing takes its default.

        Raises:
            SettingsError: an unknown name or a wrong value.
        """
        refuse_unknown(cls, values, called="fine-tuning setting", error=SettingsError)
        return cls(**values)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise SettingsError(f"Fine-tuning setting {name} is {value!r}; expected {expected}.")


def default_learning_rate(width: int) -> float:
    """The peak rate for a decoder of this hidden width.

    1e-3 was measured best for the starter model's 128. 5e-5 is the usual rate for fine-tuning BLIP-base and -large
    (768) on small sets, as in Hugging Face's own notebook for it. In between, and beyond, a straight line on log-log
    paper; nothing but the first was measured here.
    """
    return 1e-3 * (width / 128) ** (math.log(5e-5 / 1e-3) / math.log(768 / 128))


def default_steps(examples: int) -> int:
    """Optimiser steps for this many examples: more examples, more steps, but far fewer passes over each."""
    return round(300 * max(examples / 60, 0.25) ** 0.5)


def finetune(
    checkpoint: Checkpoint,
    examples: Sequence[Example],
    *,
    settings: FinetuneSettings,
    features: FeatureSource,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FinetuneResult:
    """Train a copy of the checkpoint's decoder on captions.

    Args:
        checkpoint: the version to start from; it stays as it is.
        examples: captions and the images they belong to.
        settings: how to train.
        features: the frozen encoder's output for the examples' images.
        on_progress: called about once a second, and after the last step.
        should_stop: asked before each step.

    Raises:
        RunError: no example is left to train on, an image has no features, or the loss is no number any more.
        RunCancelled: `should_stop` said so.
    """
    usable, rejected = _usable(checkpoint, examples, prompt=settings.prompt)
    if not usable:
        raise RunError(_nothing_left(rejected))
    settings = _settled(settings, checkpoint, len(usable))
    steps, peak_rate = settings.steps or 0, settings.learning_rate or 0.0
    for example in rejected:
        logger.warning("Not trained on %s: %s", example.id, example.reason)
    logger.info("Training on %d captions for %d steps, rate %.2g", len(usable), steps, peak_rate)

    model = _trainable_copy(checkpoint.model, dropout=settings.dropout)
    device = next(model.text_decoder.parameters()).device
    start_id = model.config.text_config.bos_token_id
    texts = [_Text.of(example.caption, checkpoint.tokenizer, prompt=settings.prompt) for example in usable]
    weights = torch.tensor([example.weight for example in usable], device=device)
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=peak_rate, betas=(0.9, 0.98))
    losses: list[float] = []
    begin = last_report = time.monotonic()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        for step, batch in zip(
            range(steps), _batches(len(usable), settings.batch_size, seed=settings.seed), strict=False
        ):
            if should_stop():
                raise RunCancelled(f"The run was cancelled at step {step} of {steps}; nothing was changed.")
            rate = peak_rate * _schedule(step, steps, settings.warmup_share)
            for group in optimizer.param_groups:
                group["lr"] = rate

            image_embeds = _features_of([usable[i] for i in batch], features).to(device, torch.float32)  # (B, P+1, H)
            text = _padded([texts[i] for i in batch], start_id=start_id).to(device)  # each (B, L)
            logits = model.text_decoder(
                input_ids=text.ids, attention_mask=text.mask, encoder_hidden_states=image_embeds
            ).logits  # (B, L, vocabulary)
            loss = caption_loss(logits, text.labels, weights=weights[batch], label_smoothing=settings.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(model.text_decoder.parameters(), settings.max_gradient_norm))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise RunError(
                    f"The loss is {losses[-1]} at step {step + 1}; a lower learning rate than {peak_rate:.2g} may help."
                )
            now = time.monotonic()
            if now - last_report > 1 or step + 1 == steps:
                last_report = now
                per_step = (now - begin) / (step + 1)
                progress = Progress(
                    step=step + 1,
                    steps=steps,
                    loss=sum(losses[-10:]) / len(losses[-10:]),
                    learning_rate=rate,
                    gradient_norm=norm,
                    examples_per_second=settings.batch_size / per_step,
                    seconds_left=per_step * (steps - step - 1),
                )
                on_progress(progress)
                logger.info(
                    "step %d of %d  loss %.4f  rate %.2g  gradient %.2f  %.0f captions/s  %.0f s left",
                    progress.step, steps, progress.loss, rate, norm,
                    progress.examples_per_second, progress.seconds_left,
                )  # fmt: skip

    return FinetuneResult(
        checkpoint=Checkpoint(
            model=_finished(model, checkpoint.model),
            tokenizer=checkpoint.tokenizer,
            image_processor=checkpoint.image_processor,
            source=checkpoint.source,
        ),
        settings=settings,
        examples=len(usable),
        rejected=tuple(rejected),
        losses=tuple(losses),
        seconds=time.monotonic() - begin,
    )


def caption_loss(
    logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy per token that is asked for.

    Args:
        logits: float (B, L, vocabulary).
        labels: int64 (B, L), the token at each position, or -100 where none is asked for; position t is predicted from
            the logits of position t - 1.
        weights: float (B,), of each example; all 1 when left out.
        label_smoothing: leave it 0 to score.
    """
    asked, wanted = logits[:, :-1].float(), labels[:, 1:]
    per_token = functional.cross_entropy(
        asked.transpose(1, 2), wanted, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="none"
    )  # (B, L-1), 0 where nothing is asked
    counted = (wanted != IGNORED).to(per_token)
    if weights is not None:
        counted = counted * weights[:, None]
    return (per_token * counted).sum() / counted.sum()


# --- text ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """What the decoder reads and what it is asked for, each int64 (B, L).

    Args:
        ids: [DEC], prompt, caption, [SEP], then padding.
        labels: the same where something is asked for, -100 elsewhere.
        mask: 1 where `ids` has text, 0 on padding.
    """

    ids: Tensor
    labels: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> TrainingBatch:
        return TrainingBatch(self.ids.to(device), self.labels.to(device), self.mask.to(device))


def training_batch(
    captions: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, start_id: int, prompt: str = ""
) -> TrainingBatch:
    """Captions as the decoder is trained on them, and as they are scored.

    Args:
        captions: none of them empty.
        tokenizer: of the model.
        start_id: `config.text_config.bos_token_id`, [DEC].
        prompt: text before each caption that is given, not asked for.
    """
    return _padded([_Text.of(caption, tokenizer, prompt=prompt) for caption in captions], start_id=start_id)


@dataclass(frozen=True, slots=True)
class _Text:
    """A caption's ids after the start token: prompt, caption, [SEP]."""

    ids: tuple[int, ...]
    prompt: int  # how many of them nothing is asked for

    @classmethod
    def of(cls, caption: str, tokenizer: PreTrainedTokenizerBase, *, prompt: str) -> _Text:
        prompt_ids = encode_caption(tokenizer, prompt)
        return cls((*prompt_ids, *encode_caption(tokenizer, caption), tokenizer.sep_token_id), len(prompt_ids))


def _padded(texts: Sequence[_Text], *, start_id: int) -> TrainingBatch:
    length = 1 + max(len(text.ids) for text in texts)
    ids, mask = torch.zeros(2, len(texts), length, dtype=torch.int64)
    labels = torch.full((len(texts), length), IGNORED)
    for row, text in enumerate(texts):
        end = 1 + len(text.ids)
        ids[row, :end] = torch.tensor((start_id, *text.ids))
        labels[row, 1 + text.prompt : end] = ids[row, 1 + text.prompt : end]
        mask[row, :end] = 1
    return TrainingBatch(ids, labels, mask)


def _usable(
    checkpoint: Checkpoint, examples: Sequence[Example], *, prompt: str
) -> tuple[list[Example], list[Rejected]]:
    usable, rejected = [], []
    longest = checkpoint.model.config.text_config.max_position_embeddings
    for example in examples:
        reason = _reason_against(example.caption, checkpoint.tokenizer, prompt=prompt, longest=longest)
        if reason is None:
            usable.append(example)
        else:
            rejected.append(Rejected(example.id, reason))
    return usable, rejected


def _reason_against(caption: str, tokenizer: PreTrainedTokenizerBase, *, prompt: str, longest: int) -> str | None:
    if not normalise_caption(caption):
        return "the caption is empty"
    if not is_representable(tokenizer, caption):
        return f"the model's vocabulary cannot write {caption!r}"
    length = 1 + len(_Text.of(caption, tokenizer, prompt=prompt).ids)
    if length > longest:
        return f"the caption has {length} tokens and would be cut; the model can write {longest}"
    return None


def _nothing_left(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "There is no correction to train on."
    return f"None of the {len(rejected)} corrections can be trained on; {rejected[0].id}: {rejected[0].reason}."


# --- model and optimiser -------------------------------------------------------------------------------------------


def _settled(settings: FinetuneSettings, checkpoint: Checkpoint, examples: int) -> FinetuneSettings:
    chosen = settings.to_dict()
    if settings.learning_rate is None:
        chosen["learning_rate"] = default_learning_rate(checkpoint.model.config.text_config.hidden_size)
    if settings.steps is None:
        chosen["steps"] = default_steps(examples)
    return FinetuneSettings(**chosen)


def _trainable_copy(model: BlipForConditionalGeneration, *, dropout: float) -> BlipForConditionalGeneration:
    """A copy whose decoder is float32 and trains; the encoder, which does not change, is the same object in both."""
    trained = copy.deepcopy(model, {id(model.vision_model): model.vision_model})
    trained.text_decoder.float().train().requires_grad_(True)
    for module in trained.text_decoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return trained


def _finished(
    model: BlipForConditionalGeneration, original: BlipForConditionalGeneration
) -> BlipForConditionalGeneration:
    """The trained model with the original's dropout and dtype, ready to caption."""
    for module, was in zip(model.text_decoder.modules(), original.text_decoder.modules(), strict=True):
        if isinstance(module, nn.Dropout):
            module.p = was.p
    model.text_decoder.to(original.dtype).requires_grad_(False)
    return model.eval()


def _parameter_groups(model: BlipForConditionalGeneration, weight_decay: float) -> list[dict[str, Any]]:
    """The decoder's parameters with and without weight decay: none on biases, norms (both 1-D) and positions."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.text_decoder.named_parameters():
        is_free = parameter.ndim < 2 or "position_embeddings" in name
        (free if is_free else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _schedule(step: int, steps: int, warmup_share: float) -> float:
    """Share of the peak rate: a straight rise, then a cosine that would reach 0 with the step after the last."""
    warmup = round(steps * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


# --- data ----------------------------------------------------------------------------------------------------------


def _batches(examples: int, batch_size: int, *, seed: int) -> Iterator[list[int]]:
    """Batches without end, all of the full size: shuffled passes, one after the other, cut where a batch is full."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting.extend(torch.randperm(examples, generator=generator).tolist())
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _features_of(examples: Sequence[Example], features: FeatureSource) -> Tensor:
    hashes = [example.image_hash for example in examples]
    if callable(features):
        return features(hashes)
    # Few captions come several times in a batch.
    missing = list(dict.fromkeys(example.id for example in examples if example.image_hash not in features))
    if missing:
        raise RunError(f"The images of {', '.join(missing)} have no features; they have to be encoded first.")
    return torch.stack([features[image] for image in hashes])
