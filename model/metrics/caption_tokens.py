"""The tokens that metrics count: Penn-Treebank tokens, and characters in scripts without spaces.

To the Penn-Treebank tokeniser a Chinese, Japanese or Thai caption is a single word, right or wrong as a whole, and it
drops the vowel signs of Khmer, Burmese and Tibetan. Captions in such scripts are split into characters instead, as
sacrebleu's `zh` and `char` tokenisers do; words in other scripts among them stay words. All other captions are
tokenised as every published figure has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captionloop.model.captions.ptb_tokens import tokenize, tokenize_line
from captionloop.model.captions.scripts import count_units, is_written_without_spaces


def caption_tokens(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Tokenise captions of many images.

    Args:
        captions: image id → its captions.

    Returns:
        Image id → the captions as lower-case tokens joined by single spaces.

    Raises:
        SettingsError: `pycocoevalcap` or its jar is missing, or is another version of it.
    """
    tokenized = tokenize(captions)
    return {
        image: [
            " ".join(_characters(text)) if is_written_without_spaces(text) else tokens
            for text, tokens in zip(texts, tokenized[image], strict=True)
        ]
        for image, texts in captions.items()
    }


def _characters(text: str) -> list[str]:
    units = [unit for word in text.split() for unit in count_units(word)]
    return [token for unit in units for token in ([unit] if is_written_without_spaces(unit) else tokenize_line(unit))]
