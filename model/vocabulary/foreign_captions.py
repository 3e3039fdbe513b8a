"""Selects the captions that need new tokens: those that the model cannot write, or only in many pieces.

English needs none, so a project with English captions trains as without this module. Of the words of
English captions 17 of 100 are more than one piece to BLIP's published vocabulary, and 33 to the starter model's small
one; of Dutch ones 55 and 86, though both can write all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from captionloop.model.captions.text import encode_caption, is_representable, is_word, normalise_caption, split_tokens
from captionloop.model.vocabulary.wordpiece import first_added_id

_BROKEN = 0.45  # share of the words that are more than one piece, from which on captions are in another language
_MANY = 3  # pieces: more than a stem and its ending


def foreign_captions(tokenizer: PreTrainedTokenizerBase, captions: Sequence[str]) -> list[str]:
    """Those of the captions that new words are taken from.

    Where most words are whole, a caption that can be written is one of them only if it has a word that needs many
    pieces, and not only such as the first model of all had: more words of a language that was learnt before.
    """
    captions = [caption for caption in captions if normalise_caption(caption)]
    written = [is_representable(tokenizer, caption) for caption in captions]
    rest = [caption for caption, can_be in zip(captions, written, strict=True) if can_be]
    is_of_other_language = _share_broken(tokenizer, rest) >= _BROKEN
    return [
        caption
        for caption, can_be in zip(captions, written, strict=True)
        if not can_be or is_of_other_language or _has_spelt_word(tokenizer, caption)
    ]


def _share_broken(tokenizer: PreTrainedTokenizerBase, captions: Sequence[str]) -> float:
    """The share of the captions' words that are more than one piece."""
    words = Counter(word for caption in captions for word in split_tokens(caption) if is_word(word))
    broken = sum(count for word, count in words.items() if len(encode_caption(tokenizer, word)) > 1)
    return broken / words.total() if words else 0.0


def _has_spelt_word(tokenizer: PreTrainedTokenizerBase, caption: str) -> bool:
    """Whether a word is in many pieces of which some were added for other captions."""
    added = first_added_id(tokenizer)
    if added is None:
        return False
    spelt = [encode_caption(tokenizer, word) for word in split_tokens(caption) if is_word(word)]
    return any(len(ids) >= _MANY and max(ids) >= added for ids in spelt)
