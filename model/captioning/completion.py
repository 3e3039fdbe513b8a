"""The rest of a caption that a person has begun to write.

The words so far are the decoder's forced beginning, as BLIP's own prompt is. A word that is not finished is left to the
model: of all tokens of the vocabulary that begin with its letters, the likeliest takes its place. (Forced as it stands,
"a red ca" would be tokens that no caption has.)
"""

from __future__ import annotations

import torch

from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.text import decode_caption, encode_caption, is_word, lower_case, split_tokens


def complete(captioner: Captioner, features: torch.Tensor, typed: str) -> str:
    """What the model writes after a beginning; empty when it has nothing to add, or no room.

    Args:
        captioner: the model.
        features: encoder output of one picture, (1, patches + 1, vision hidden).
        typed: the beginning; empty for a whole caption.
    """
    tokenizer = captioner.checkpoint.tokenizer
    head, last = _split(typed)
    openings = [number for token, number in tokenizer.get_vocab().items() if last and token.startswith(last)]
    known = encode_caption(tokenizer, head if openings else typed)
    ids = captioner.write_on(features, known, openings=openings)
    written = captioner.generation.style_writing.write(decode_caption(tokenizer, ids))
    before = len(split_tokens(decode_caption(tokenizer, encode_caption(tokenizer, head))))
    rest = _after(written, before, last)
    return rest.lstrip() if not typed or typed[-1].isspace() else rest


def _split(typed: str) -> tuple[str, str]:
    """The finished words, and the letters of the word that is being written, in lower case."""
    tokens = split_tokens(typed)
    if not tokens or typed[-1].isspace() or not is_word(tokens[-1]):
        return typed, ""
    head = typed[: typed.rindex(tokens[-1])] if tokens[-1] in typed else " ".join(tokens[:-1])
    return head, lower_case(tokens[-1])


def _after(written: str, count: int, last: str) -> str:
    """What follows the first `count` tokens of a text, and then the letters `last`; empty if these do not follow."""
    tokens, place = split_tokens(written), 0
    for token in tokens[:count]:
        place = written.find(token, place) + len(token)
    if not last:
        return written[place:]
    if count >= len(tokens) or not lower_case(tokens[count]).startswith(last):
        return ""
    return written[written.find(tokens[count], place) + len(last) :]
