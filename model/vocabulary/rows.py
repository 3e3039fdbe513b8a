"""Rows for new tokens: of the embedding, of the head that is tied to it, and of the head's bias.

Shapes: V old vocabulary, N new tokens, H width of the text decoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import BlipForConditionalGeneration


@torch.no_grad()
def with_rows(model: BlipForConditionalGeneration, rows: Tensor, biases: Tensor) -> BlipForConditionalGeneration:
    """A model that knows N tokens more. All other weights, and the image encoder, are the very same as the old one's.

    Args:
        model: it stays as it is.
        rows: of the new tokens, float (N, H).
        biases: of the same, float (N,).
    """
    shared = {id(model.vision_model): model.vision_model}
    shared |= {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    grown = copy.deepcopy(model, shared)
    text = grown.text_decoder
    old = text.get_input_embeddings()
    weight = torch.cat([old.weight, rows.to(old.weight)])
    embedding = nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=old.padding_idx, device="meta")
    embedding.weight = nn.Parameter(weight)
    head = text.get_output_embeddings()
    grown_head = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    grown_head.weight = embedding.weight
    grown_head.bias = nn.Parameter(torch.cat([head.bias, biases.to(head.bias)]))
    text.set_input_embeddings(embedding)
    text.set_output_embeddings(grown_head)
    for config in (grown.config.text_config, text.config, text.bert.config):
        config.vocab_size = len(weight)
    return grown.train(model.training)


@torch.no_grad()
def begun_from(
    model: BlipForConditionalGeneration, spellings: Sequence[Sequence[int]], *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """What new tokens begin as: the mean of what each was written with, or, of nothing, something like the old ones.

    Args:
        model: with the old tokens.
        spellings: each new token's old ids, N of them; empty where the old vocabulary could not write it.
        seed: of the draw for those.

    Returns:
        rows, float32 (N, H), and biases, float32 (N,).
    """
    text = model.text_decoder
    known = text.get_input_embeddings().weight.float().cpu()
    known_biases = text.get_output_embeddings().bias.float().cpu()
    generator = torch.Generator().manual_seed(seed)
    mean, spread = known.mean(dim=0), known.std(dim=0)
    rows = mean + spread * torch.randn(len(spellings), len(mean), generator=generator)
    biases = known_biases.mean().repeat(len(spellings))
    for place, ids in enumerate(spellings):
        if ids:
            rows[place], biases[place] = known[list(ids)].mean(dim=0), known_biases[list(ids)].mean()
    return rows, biases
