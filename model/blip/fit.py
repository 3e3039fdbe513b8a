"""Whether the files of a checkpoint match: weights and configuration, tokenizer, image processor.

Each may load by itself and still belong to another model, which would otherwise show only with the first caption.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipImageProcessorPil, PreTrainedTokenizerBase

from captionloop.errors import CheckpointError

_NEITHER_SQUARE_NOR_RIGHT = (53, 37)  # a picture's width and height, which the image processor must resize


def check_fit(
    directory: Path,
    model: BlipForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    image_processor: BlipImageProcessorPil,
) -> None:
    """Run a picture through image processor, encoder, and one step of the decoder.

    Args:
        directory: for messages.
        model: in evaluation mode, on the CPU.

    Raises:
        CheckpointError: two of the files do not match; the message says which.
    """
    _check_tokenizer(directory, model, tokenizer)
    pixels = _check_image_processor(directory, model, image_processor)
    _check_passage(directory, model, pixels)


def _check_tokenizer(directory: Path, model: BlipForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
    text = model.config.text_config
    if len(tokenizer) > text.vocab_size:
        raise CheckpointError(
            f"The tokenizer in {directory} has {len(tokenizer):,} words, more than the model's {text.vocab_size:,}."
        )
    if text.sep_token_id != tokenizer.sep_token_id:
        raise CheckpointError(
            f"In {directory} captions end with id {text.sep_token_id} (sep_token_id of text_config), but the "
            f"tokenizer's end token has id {tokenizer.sep_token_id}."
        )
    if text.bos_token_id is None or not 0 <= text.bos_token_id < text.vocab_size:
        raise CheckpointError(
            f"In {directory} captions start with id {text.bos_token_id} (bos_token_id of text_config), which is "
            f"outside the model's vocabulary of {text.vocab_size:,}."
        )
    if tokenizer.pad_token_id is None or not 0 <= tokenizer.pad_token_id < text.vocab_size:
        raise CheckpointError(f"The tokenizer in {directory} has no token for padding; expected [PAD].")


def _check_image_processor(
    directory: Path, model: BlipForConditionalGeneration, image_processor: BlipImageProcessorPil
) -> torch.Tensor:
    """The encoder's input for a picture: float32 (1, 3, side, side)."""
    side = model.config.vision_config.image_size
    path = directory / "preprocessor_config.json"
    try:
        picture = Image.new("RGB", _NEITHER_SQUARE_NOR_RIGHT, "gray")
        with np.errstate(all="ignore"):  # a division by 0 is found below
            pixels: torch.Tensor = image_processor([picture], return_tensors="pt")["pixel_values"]
    except Exception as error:  # it uses its settings unchecked
        raise CheckpointError(f"{path} cannot be used on a picture: {type(error).__name__}: {error}.") from error
    shape = tuple(pixels.shape)
    if shape != (1, 3, side, side) or (image_processor.size["height"], image_processor.size["width"]) != (side, side):
        raise CheckpointError(
            f"{path} makes pictures of {_size(shape)}, but config.json says that the model sees {side} x {side} "
            "(image_size of vision_config). Take both files from the same model."
        )
    if not math.isfinite(float(pixels.sum())):
        raise CheckpointError(
            f"{path} makes numbers that are none of a grey picture; see its image_mean and image_std."
        )
    return pixels


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]} x {shape[-2]} with {shape[1]} channels" if len(shape) == 4 else f"the shape {shape}"


@torch.inference_mode()
def _check_passage(directory: Path, model: BlipForConditionalGeneration, pixels: torch.Tensor) -> None:
    """Encode, and run a decoder step on one patch, which is enough and takes milliseconds also with a large model."""
    try:
        embedded = model.vision_model.embeddings(pixels.to(model.dtype))
        start = torch.tensor([[model.config.text_config.bos_token_id]])
        model.text_decoder(input_ids=start, encoder_hidden_states=embedded[:, :1], is_decoder=True)
    except Exception as error:  # whatever mismatched shapes raise
        raise CheckpointError(
            f"The parts of the model in {directory} do not fit each other: {str(error).splitlines()[0]}. See "
            "vision_config and text_config in config.json."
        ) from error
