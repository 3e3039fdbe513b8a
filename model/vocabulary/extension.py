"""Extends a checkpoint by tokens that captions need: tokenizer, embedding and head together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.captions.text import encode_caption, is_representable
from captionloop.model.vocabulary.alignment import Pair, old_tokens_of
from captionloop.model.vocabulary.foreign_captions import foreign_captions
from captionloop.model.vocabulary.pieces import missing_pieces
from captionloop.model.vocabulary.rows import begun_from, with_rows
from captionloop.model.vocabulary.wordpiece import INSIDE, extended_tokenizer, is_extensible

Telling = Callable[[Sequence[str]], Mapping[str, str]]
"""Image hashes → the model's own caption of each."""

# The model captions at most so many pictures for the alignment; more would only help rare words.
_TOLD = 500
# Share of a caption's tokens. An emoji after eight English words is 0.11; of German captions 0.62 is new on average, of
# Chinese ones all.
_NEW_LANGUAGE = 0.4


def extended_checkpoint(
    checkpoint: Checkpoint, captions: Sequence[tuple[str, str]], *, prompt: str = "", tell: Telling | None = None
) -> Checkpoint:
    """The checkpoint with the tokens that the captions need; the same object if they need none.

    A new token begins as the mean of the old ones that come with it when the model itself describes the same picture
    (`alignment`), else of those that it was written with before, else as something like the old ones.

    Args:
        checkpoint: it stays as it is; the new one shares all its weights but the embedding and the head.
        captions: image hash and what a person wrote.
        prompt: text before each caption, which it has to be able to write as well.
        tell: None does without.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    foreign = foreign_captions(tokenizer, [caption for _, caption in captions])
    lacking = [*foreign, prompt] if prompt and not is_representable(tokenizer, prompt) else foreign
    if not lacking or not is_extensible(tokenizer):
        return checkpoint
    config = model.config.text_config
    size, start_id = config.vocab_size, config.bos_token_id
    gentle = extended_tokenizer(tokenizer, [], size=size, start_id=start_id)
    pieces = missing_pieces(gentle.backend_tokenizer, lacking)
    if not pieces and not _writes_more(gentle, than=tokenizer, captions=lacking):
        return checkpoint
    extended = extended_tokenizer(tokenizer, pieces, size=size, start_id=start_id)
    rows, biases = begun_from(model, [_spelling(tokenizer, piece) for piece in pieces])
    if tell is not None:
        pairs = _pairs(captions, foreign, tell, old=tokenizer, new=extended)
        _begin_as_translations(checkpoint, pairs, rows, biases, size=size)
    return Checkpoint(with_rows(model, rows, biases), extended, checkpoint.image_processor, checkpoint.source)


def share_in_new_language(extended: Checkpoint, captions: Sequence[str], *, before: Checkpoint) -> float:
    """The share of captions that are to a good part written with tokens that an extension added.

    A caption with an emoji, or with a name from elsewhere, is none of them.

    Args:
        extended: what `extended_checkpoint` made.
        captions: some that it can write.
        before: what it was made from.
    """
    first_new = before.model.config.text_config.vocab_size
    ids = [encode_caption(extended.tokenizer, caption) for caption in captions]
    return sum(sum(index >= first_new for index in some) >= _NEW_LANGUAGE * len(some) for some in ids) / len(ids)


def _writes_more(tokenizer: PreTrainedTokenizerBase, *, than: PreTrainedTokenizerBase, captions: Sequence[str]) -> bool:
    """Whether it is enough to keep what the old one strips: its vocabulary may have letters with accents."""
    return any(is_representable(tokenizer, caption) > is_representable(than, caption) for caption in captions)


def _spelling(tokenizer: PreTrainedTokenizerBase, piece: str) -> list[int]:
    """What a piece was written with before."""
    ids = encode_caption(tokenizer, piece.removeprefix(INSIDE))
    return [index for index in ids if index != tokenizer.unk_token_id]


def _pairs(
    captions: Sequence[tuple[str, str]],
    foreign: Sequence[str],
    tell: Telling,
    *,
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
) -> list[Pair]:
    wanted = set(foreign)
    written = [(image, caption) for image, caption in captions if caption in wanted]
    images = sorted({image for image, _ in written})[:_TOLD]
    told = tell(images)
    return [
        (encode_caption(new, caption), encode_caption(old, told[image])) for image, caption in written if image in told
    ]


@torch.no_grad()
def _begin_as_translations(
    checkpoint: Checkpoint, pairs: Sequence[Pair], rows: torch.Tensor, biases: torch.Tensor, *, size: int
) -> None:
    """Put the mean of the old tokens that come with a new one into its row, (N, H), and its bias, (N,)."""
    text = checkpoint.model.text_decoder
    known = text.get_input_embeddings().weight.float().cpu()
    known_biases = text.get_output_embeddings().bias.float().cpu()
    for new, olds in old_tokens_of(pairs).items():
        if new >= size:
            ids, shares = list(olds), torch.tensor(list(olds.values()))
            rows[new - size] = shares @ known[ids]
            biases[new - size] = shares @ known_biases[ids]
