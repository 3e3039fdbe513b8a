"""Decoder inputs and labels for training, consistent with generation, and the loss.

The input starts with [DEC] (the id from the config; published tokenizers lack the token). Labels are the caption and
[SEP]; a style's token, prompt and padding are masked out of the loss. `transformers` does none of that by itself. The
loss is computed here, so that label smoothing is used in training only.

Shapes: B examples in a batch, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.captions.example import Example
from captionloop.model.captions.text import encode_caption, is_representable, lead_in, normalise_caption, unwritable

_NAMED = 5  # characters that cannot be written are named at most
IGNORED = -100  # the label of a position that does not count in the loss


@dataclass(frozen=True, slots=True)
class Rejected:
    """An example that was left out of training, and why."""

    example: Example
    reason: str


def caption_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    total: int | None = None,
) -> Tensor:
    """Mean cross-entropy per token that counts in the loss.

    Args:
        logits: float (A, vocabulary), of the positions in the mask `asking(labels)`, row by row.
        labels: int64 (B, L), the token at each position, or -100 where it does not count; the label of position t is
            predicted from the logits of position t - 1.
        label_smoothing: 0 for evaluation.
        total: the divisor, `asked_for` a whole batch, when these examples are a part of it; None: as many as here.
    """
    wanted = labels[:, 1:]
    wanted = wanted[wanted != IGNORED]
    summed = functional.cross_entropy(logits.float(), wanted, label_smoothing=label_smoothing, reduction="sum")
    return summed / (len(wanted) if total is None else total)


def asking(labels: Tensor) -> Tensor:
    """Mask of positions whose next token counts in the loss: bool (B, L), from labels (B, L)."""
    return functional.pad(labels[:, 1:] != IGNORED, (0, 1))


def asked_for(labels: Tensor) -> int:
    """The number of tokens that count in the loss: the divisor of a batch's loss."""
    return int(asking(labels).sum())


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Decoder inputs and labels, each int64 (B, L).

    Args:
        ids: [DEC], the style's token if any, prompt, caption, [SEP], then padding.
        labels: the same for caption and [SEP], -100 elsewhere.
    """

    ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> TrainingBatch:
        return TrainingBatch(self.ids.to(device), self.labels.to(device))


def training_batch(
    captions: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, start_id: int, prompt: str = ""
) -> TrainingBatch:
    """Tokenize captions into inputs and labels.

    Args:
        captions: none of them empty.
        tokenizer: of the model.
        start_id: `config.text_config.bos_token_id`, [DEC].
        prompt: text before each caption, masked out of the loss.
    """
    return padded([CaptionText.of(caption, tokenizer, prompt=prompt) for caption in captions], start_id=start_id)


@dataclass(frozen=True, slots=True)
class CaptionText:
    """A caption's ids after the start token: the style's token if any, prompt, caption, [SEP]."""

    ids: tuple[int, ...]
    prompt: int  # how many of them are masked out of the loss

    @classmethod
    def of(
        cls, caption: str, tokenizer: PreTrainedTokenizerBase, *, prompt: str, style_token: str | None = None
    ) -> CaptionText:
        prompt_ids = lead_in(tokenizer, prompt, token=style_token)
        return cls((*prompt_ids, *encode_caption(tokenizer, caption), tokenizer.sep_token_id), len(prompt_ids))


def padded(texts: Sequence[CaptionText], *, start_id: int) -> TrainingBatch:
    length = 1 + max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), length, dtype=torch.int64)
    labels = torch.full((len(texts), length), IGNORED)
    for row, text in enumerate(texts):
        end = 1 + len(text.ids)
        ids[row, :end] = torch.tensor((start_id, *text.ids))
        labels[row, 1 + text.prompt : end] = ids[row, 1 + text.prompt : end]
    return TrainingBatch(ids, labels)


def usable_examples(
    checkpoint: Checkpoint,
    examples: Sequence[Example],
    *,
    prompt: str,
    style_tokens: Mapping[str, str] | None = None,
) -> tuple[list[Example], list[Rejected]]:
    """The examples that the model can be trained on, and the others with why they cannot.

    Args:
        style_tokens: of each style among them.
    """
    usable, rejected = [], []
    longest = checkpoint.model.config.text_config.max_position_embeddings
    for example in examples:
        reason = _reason_against(
            example.caption,
            checkpoint.tokenizer,
            prompt=prompt,
            style_token=example.led_in_by(style_tokens or {}),
            longest=longest,
        )
        if reason is None:
            usable.append(example)
        else:
            rejected.append(Rejected(example, reason))
    return usable, rejected


def _reason_against(
    caption: str, tokenizer: PreTrainedTokenizerBase, *, prompt: str, style_token: str | None, longest: int
) -> str | None:
    if not normalise_caption(caption):
        return "the caption is empty"
    if not is_representable(tokenizer, caption):
        lacking = ", ".join(f"{part!r:.40}" for part in unwritable(tokenizer, caption)[:_NAMED])
        return f"the model's vocabulary cannot write {lacking} in {caption!r:.200}"
    length = 1 + len(CaptionText.of(caption, tokenizer, prompt=prompt, style_token=style_token).ids)
    if length > longest:
        return f"the caption has {length} tokens and would be cut; the model can write {longest}"
    return None


def nothing_left(rejected: Sequence[Rejected]) -> str:
    if not rejected:
        return "There is no correction to train on."
    return f"None of the {len(rejected)} corrections can be trained on; {rejected[0].example}: {rejected[0].reason}."
