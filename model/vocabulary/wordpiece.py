"""Extends a WordPiece tokenizer; what the original can write is tokenized as before.

BLIP's tokenizer is BERT's for English: it strips accents, sets each Chinese character apart, drops the joiners that
Persian and Sinhala need, and gives up on words of more than 100 characters, which Thai, written without spaces, has.
An extended one does none of that. It has the old pieces under their old ids, and new ones behind all that the model
has: the published models know two tokens more than their tokenizer, [DEC] and [ENC], and a tokenizer that skipped those
ids would count as two shorter than its highest id says.

It is one JSON document to the `tokenizers` library, so plain `transformers` loads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from captionloop.errors import CheckpointError

INSIDE = "##"  # begins a piece that goes on within a word

LONGEST_WORD = 1_000  # characters; a longer run without a space or a mark is no caption
_START = "[DEC]"  # as BLIP's own code names the token with which each caption starts, and …
_AFTER_START = "[ENC]"  # … the one behind it


_FIRST_ADDED = "first_added_id"  # in tokenizer_config.json


def first_added_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id from which on the tokens are such that captions asked for; None when there are none."""
    found: int | None = tokenizer.init_kwargs.get(_FIRST_ADDED)
    return found


def is_extensible(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it is a WordPiece tokenizer of the `tokenizers` library, as all published BLIPs have."""
    return isinstance(tokenizer, PreTrainedTokenizerFast) and isinstance(
        tokenizer.backend_tokenizer.model, models.WordPiece
    )


def extended_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    pieces: Sequence[str],
    *,
    size: int,
    start_id: int,
    special: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """The tokenizer with further pieces and special tokens, which get the ids from `size` on, in their order.

    Args:
        tokenizer: it stays as it is.
        pieces: none of them known, each once; those that begin with "##" go on within a word.
        size: of the model's vocabulary, `config.text_config.vocab_size`.
        start_id: the model's `config.text_config.bos_token_id`.
        special: tokens that no caption is written with, none of them known, each once.

    Raises:
        CheckpointError: it is no WordPiece tokenizer of the `tokenizers` library.
    """
    if not is_extensible(tokenizer):
        raise CheckpointError(f"A tokenizer of the kind {type(tokenizer).__name__} cannot get new words.")
    document = _document(tokenizer)
    vocabulary: dict[str, int] = document["model"]["vocab"]
    fillers = _fill_up(document, size=size, start_id=start_id)
    added = {token: size + place for place, token in enumerate([*pieces, *special])}
    vocabulary |= added
    document["added_tokens"] += [_special(token, added[token]) for token in special]
    document["model"]["max_input_chars_per_word"] = LONGEST_WORD
    backend = Tokenizer.from_str(json.dumps(document))
    if document["normalizer"].get("type") == "BertNormalizer":
        backend.normalizer = gentle_normalizer(lower=document["normalizer"]["lowercase"])
    before = first_added_id(tokenizer)
    return _wrapped(backend, tokenizer, [*fillers.values(), *special], first_added=size if before is None else before)


def _fill_up(document: dict[str, Any], *, size: int, start_id: int) -> dict[int, str]:
    """Name the ids below `size` that the tokenizer lacks, as special tokens: nobody writes them, and nobody reads them.

    Returns:
        id → name.
    """
    vocabulary: dict[str, int] = document["model"]["vocab"]
    taken = {*vocabulary.values(), *(token["id"] for token in document["added_tokens"])}
    known = {start_id: _START, start_id + 1: _AFTER_START}
    fillers = {index: known.get(index, f"[unused{index}]") for index in range(size) if index not in taken}
    # A name that is a word already belongs to that word.
    fillers = {index: name if name not in vocabulary else f"[unused{index}]" for index, name in fillers.items()}
    vocabulary |= {name: index for index, name in fillers.items()}
    document["added_tokens"] += [_special(name, index) for index, name in fillers.items()]
    return fillers


def _special(name: str, index: int) -> dict[str, Any]:
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": name, **options}


def gentle_normalizer(*, lower: bool) -> normalizers.Normalizer:
    """Composed characters, in lower case where the old one has that, as `text.lower_case` makes it."""
    if not lower:
        return normalizers.NFC()
    last_sigma = normalizers.Replace(Regex(r"(?<=\p{L})Σ(?!\p{L})"), "ς")
    return normalizers.Sequence([normalizers.NFC(), last_sigma, normalizers.Replace("İ", "i"), normalizers.Lowercase()])


def _wrapped(
    backend: Tokenizer, like: PreTrainedTokenizerBase, special: Sequence[str], *, first_added: int
) -> PreTrainedTokenizerFast:
    named = {name: str(token) for name, token in like.special_tokens_map.items() if isinstance(token, str)}
    further = [token for token in (*like.all_special_tokens, *special) if token not in named.values()]
    if _START in further and "bos_token" not in named:
        further.remove(_START)
        named["bos_token"] = _START
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **named,
        extra_special_tokens=further,
        model_input_names=like.model_input_names,
        model_max_length=like.model_max_length,
        clean_up_tokenization_spaces=False,
        **{_FIRST_ADDED: first_added},
    )


def _document(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return found
