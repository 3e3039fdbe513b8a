"""A picture's captions, with the probability and the cross-attention of each word of the best one.

The best caption is passed through the decoder once more, as a whole. The output at a token's position predicts the
*next* token, so the cross-attention there belongs to the next token. Heads and the upper third of the layers are
averaged, since the last layers localise best in the starter model: on drawn scenes the share of attention inside the
box of the object that a word names is over 4 times the box's share of the picture
(`tests/model/captioning/test_word_regions.py`). Other models and photographs were not measured. Attention shows which
patches the decoder read, not why it chose a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from captionloop.model.captioning.captioner import Beam, Captioner, ScoredCaption

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image
    from transformers import BlipForConditionalGeneration, PreTrainedTokenizerBase

_LAYERS_AVERAGED = 3  # the last third of the layers


@dataclass(frozen=True, eq=False)
class Word:
    """A word or a punctuation mark of a caption.

    Args:
        text: as the caption has it.
        follows_space: whether a space precedes it.
        pieces: its number of word pieces.
        probability: 0 to 1, of the word given the words before it: the product of its pieces' probabilities.
        attention: float32 (rows, columns) over the patches of the picture, which is resized to a square for the model;
            not negative, sums to 1.
    """

    text: str
    follows_space: bool
    pieces: int
    probability: float
    attention: NDArray[np.float32]


@dataclass(frozen=True)
class WordRegions:
    """The captions of a picture, and the words of the best one.

    Args:
        version: its name.
        beams: all final beams, best first; the first is the one that is served.
        words: of the first.
    """

    version: str
    beams: tuple[ScoredCaption, ...]
    words: tuple[Word, ...]


def word_regions(captioner: Captioner, image: Image.Image) -> WordRegions:
    """Caption a picture, with the attention of each word. Nothing of the picture is stored, features included.

    Args:
        image: RGB, as `open_image` returns it.
    """
    features = captioner.encode([image])
    (beams,) = captioner.beams(features)
    return WordRegions(
        version=captioner.version,
        beams=tuple(beam.scored for beam in beams),
        words=_words(captioner, features, beams[0]),
    )


def _words(captioner: Captioner, features: torch.Tensor, beam: Beam) -> tuple[Word, ...]:
    with captioner.alone() as model:
        probabilities, maps = _read_again(model, features, beam.ids)
    groups = _words_of_pieces(captioner.checkpoint.tokenizer, beam.ids, begin=captioner.prompt_length)
    return tuple(
        Word(
            text=text,
            follows_space=follows_space,
            pieces=len(places),
            probability=float(np.prod(probabilities[places])),
            attention=maps[places].mean(axis=0),
        )
        for (text, follows_space), places in zip(
            _as_written(groups, beam.scored.caption), (places for _, places in groups), strict=True
        )
    )


def _read_again(
    model: BlipForConditionalGeneration, features: torch.Tensor, ids: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each token: its probability (tokens,) and its attention (tokens, rows, columns).

    [DEC], which is given, has the probability 1 and uniform attention.
    """
    tokens = torch.tensor([list(ids)], device=features.device)
    output = model.text_decoder(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        encoder_hidden_states=features,
        encoder_attention_mask=torch.ones(features.shape[:2], dtype=torch.long, device=features.device),
        output_attentions=True,
        use_cache=False,
    )
    written = torch.softmax(output.logits[0, :-1].float(), dim=-1).gather(1, tokens[0, 1:, None]).squeeze(1)
    layers = output.cross_attentions[-max(1, len(output.cross_attentions) // _LAYERS_AVERAGED) :]
    attention = torch.stack(layers)[:, 0].float().mean(dim=(0, 1))  # (tokens, 1 + patches)
    patches = attention[:-1, 1:]  # without [CLS], which has no position
    patches = patches / patches.sum(dim=1, keepdim=True)
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    nowhere = torch.full((1, side, side), 1 / side**2, device=patches.device)
    maps = torch.cat([nowhere, patches.reshape(-1, side, side)])
    return torch.cat([written.new_ones(1), written]).cpu().numpy(), maps.cpu().numpy()


def _words_of_pieces(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, begin: int
) -> list[tuple[str, list[int]]]:
    """The caption's words with the indices of their pieces in `ids`, without special tokens."""
    special, known = set(tokenizer.all_special_ids), len(tokenizer)
    words: list[tuple[str, list[int]]] = []
    for place in range(begin, len(ids)):
        if ids[place] in special or ids[place] >= known:
            continue
        piece = str(tokenizer.convert_ids_to_tokens(ids[place]))
        if piece.startswith("##") and words:
            text, places = words[-1]
            words[-1] = (text + piece.removeprefix("##"), [*places, place])
        else:
            words.append((piece, [place]))
    return words


def _as_written(words: Sequence[tuple[str, Sequence[int]]], caption: str) -> list[tuple[str, bool]]:
    """Each word as the caption has it, with its capitals, and whether a space precedes it."""
    if sum(len(text) for text, _ in words) != len("".join(caption.split())):  # letters that changed their number
        return [(text, index > 0) for index, (text, _) in enumerate(words)]
    letters = [place for place, letter in enumerate(caption) if not letter.isspace()]
    written = []
    for text, _ in words:
        mine, letters = letters[: len(text)], letters[len(text) :]
        written.append((caption[mine[0] : mine[-1] + 1], mine[0] > 0 and caption[mine[0] - 1].isspace()))
    return written
