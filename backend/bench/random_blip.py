"""BLIP models of the published sizes with random weights, for measurements that do not depend on quality.

Shapes from the published configurations of blip-image-captioning-base and -large.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.starter import STARTER_DIR

_VISION = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
SIZES = tuple(_VISION)
_IMAGE_SIZE = 384

# Tuned so that captions of base have about 11 tokens, as in COCO, and differ between most pictures.
_PICTURE_GAIN, _END_STRENGTH, _END_RISE, _END_FROM = 3.0, 0.2, 0.01, 8


def write_random_blip(directory: Path, size: str) -> None:
    """Write a model of a size, float32. Its tokenizer is the starter model's, with ids below the vocabulary's size."""
    starter = load_checkpoint(STARTER_DIR)
    tokenizer, processor = starter.tokenizer, starter.image_processor
    processor.size = {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}
    config = BlipConfig(
        text_config={
            "vocab_size": 30524,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "bos_token_id": 30522,
            "sep_token_id": tokenizer.sep_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        # The class's default initializer_range, 1e-10, gives a vision tower with constant output.
        vision_config={"image_size": _IMAGE_SIZE, "patch_size": 16, "initializer_range": 0.02, **_VISION[size]},
    )
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(config)
    _give_captions_a_natural_length(model.text_decoder, end=tokenizer.sep_token_id)
    save_checkpoint(Checkpoint(model, tokenizer, processor, size), directory)


@torch.no_grad()
def _give_captions_a_natural_length(decoder: BlipTextLMHeadModel, *, end: int) -> None:
    """Make the end token more likely with each position, and the picture weigh more than the words.

    Plain random weights would generate up to the maximum length, the same for all pictures.
    """
    head, embeddings = decoder.cls.predictions, decoder.bert.embeddings
    width = head.transform.dense.out_features
    direction = torch.randint(0, 2, (width,)).float() * 2 - 1
    head.transform.dense.weight.copy_(torch.eye(width))  # a random matrix would turn the direction away
    embeddings.word_embeddings.weight[end] = _END_STRENGTH * direction
    positions = torch.arange(embeddings.position_embeddings.num_embeddings)
    embeddings.position_embeddings.weight += _END_RISE * (positions - _END_FROM)[:, None] * direction
    for layer in decoder.bert.encoder.layer:
        layer.crossattention.output.dense.weight *= _PICTURE_GAIN
