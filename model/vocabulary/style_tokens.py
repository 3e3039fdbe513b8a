"""Tokens that stand for styles: each precedes the captions of its style, and is part of none.

They are special tokens, so a caption that has "[style1]" in it is written with brackets and letters as ever, while
plain `transformers` reads the text "[style1]" of a prompt as the token, and leaves it out of what it decodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from transformers import PreTrainedTokenizerBase

from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.vocabulary.rows import begun_from, with_rows
from captionloop.model.vocabulary.wordpiece import extended_tokenizer


def tokens_for(
    styles: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, known: Mapping[str, str]
) -> dict[str, str]:
    """Style → its token: the one that it has, else the next of [style1], [style2], … that the tokenizer lacks.

    Args:
        styles: names of styles, in the order in which new ones are numbered.
        known: the tokens of styles that the model was taught before.
    """
    vocabulary = tokenizer.get_vocab()
    free = (token for number in count(1) if (token := f"[style{number}]") not in vocabulary)
    return {style: known[style] if style in known else next(free) for style in dict.fromkeys(styles)}


def with_style_tokens(checkpoint: Checkpoint, tokens: Iterable[str]) -> Checkpoint:
    """The checkpoint with these tokens; the very same one where it has them all.

    Args:
        checkpoint: it stays as it is; the new one shares all its weights but the embedding and the head.

    Raises:
        CheckpointError: its tokenizer cannot be extended.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    vocabulary = tokenizer.get_vocab()
    new = [token for token in dict.fromkeys(tokens) if token not in vocabulary]
    if not new:
        return checkpoint
    config = model.config.text_config
    size, start_id = config.vocab_size, config.bos_token_id
    extended = extended_tokenizer(tokenizer, [], size=size, start_id=start_id, special=new)
    # The seed depends on the size, so that a style that comes later does not begin as an earlier one did.
    rows, biases = begun_from(model, [[] for _ in new], seed=size)
    return Checkpoint(with_rows(model, rows, biases), extended, checkpoint.image_processor, checkpoint.source)
