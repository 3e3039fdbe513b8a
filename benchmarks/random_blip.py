"""BLIP models of the published sizes with random weights, for what does not depend on what they have learnt.

Shapes from the published configurations of blip-image-captioning-base and -large.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BlipConfig, BlipForConditionalGeneration

from captionloop.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.starter import STARTER_DIR

_VISION = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
SIZES = tuple(_VISION)
_IMAGE_SIZE = 384
_END_BIAS = 8.0  # about one token in ten is the last one


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
        # The class's own initializer_range, 1e-10, makes a vision tower that is dead.
        vision_config={"image_size": _IMAGE_SIZE, "patch_size": 16, "initializer_range": 0.02, **_VISION[size]},
    )
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():  # else a caption would hardly ever end before the longest length
        model.text_decoder.cls.predictions.bias[tokenizer.sep_token_id] += _END_BIAS
    save_checkpoint(Checkpoint(model, tokenizer, processor, size), directory)
