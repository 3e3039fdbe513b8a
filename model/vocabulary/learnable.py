"""Whether a caption can be trained on: the model can write it, or could with an extended vocabulary."""

from __future__ import annotations

from functools import lru_cache

from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from captionloop.model.captions.text import is_representable, normalise_caption, same_caption
from captionloop.model.vocabulary.wordpiece import LONGEST_WORD, gentle_normalizer, is_extensible


def is_learnable(tokenizer: PreTrainedTokenizerBase, caption: str) -> bool:
    """Whether the model can write a caption, or could with the words of it.

    False for an empty one, for a run of more than a thousand characters without a space or a mark, and for what a
    tokenizer lacks that cannot be extended.
    """
    if is_representable(tokenizer, caption):
        return True
    return is_extensible(tokenizer) and _is_kept_by_an_extended_one(caption)


def _is_kept_by_an_extended_one(caption: str) -> bool:
    normal = normalise_caption(caption)
    words = [
        word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(_normalizer().normalize_str(normal))
    ]
    return bool(words) and max(map(len, words)) <= LONGEST_WORD and same_caption(" ".join(words), normal)


@lru_cache(maxsize=1)
def _normalizer() -> normalizers.Normalizer:
    return gentle_normalizer(lower=True)
