"""Tiny random BLIP models in exactly the layouts in which the real ones are published.

No pretrained weights are needed (or could be downloaded) to test loading: what matters is which files there are, what
their configurations say, and what is missing from them. Facts from the published `blip-image-captioning-base` and
`-large`:

- the model's vocabulary is the tokenizer's and two more: [DEC] (`bos_token_id`) and [ENC], which the tokenizer lacks;
- `eos_token_id` is 2 and never used; captions end with `sep_token_id`, the tokenizer's [SEP];
- `text_config` carries generation keys of old versions;
- base has `pytorch_model.bin` only, with `position_ids` buffers in it; large has a wider vision tower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

IMAGE_SIZE = 32
PATCH_SIZE = 16

_SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CHARACTERS = list("abcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~‘’“”–—…")
# fmt: off
_WORDS = [
    "a", "an", "the", "and", "of", "on", "in", "with", "at", "to", "by", "is", "are", "not", "do", "red", "blue",
    "green", "yellow", "black", "white", "light", "dark", "small", "large", "car", "tree", "house", "boat", "fish",
    "cat", "dog", "sun", "cloud", "flower", "woman", "man", "people", "shirt", "illustration", "photo", "alt", "text",
    "left", "right", "above", "below", "front", "two", "three", "one", "sign", "says", "stop", "picture", "look",
]
# fmt: on


def bert_tokenizer() -> BertTokenizer:
    """A WordPiece tokenizer made like bert-base-uncased, with a vocabulary of some two hundred pieces."""
    pieces = _SPECIAL + _CHARACTERS + [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"] + _WORDS
    unique = list(dict.fromkeys(pieces))
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(unique)}, model_max_length=512)


def tiny_config(*, vision_hidden: int = 32, **text: Any) -> BlipConfig:
    """The configuration of a model with one fiftieth of BLIP-base's width, two layers each."""
    tokenizer = bert_tokenizer()
    start = len(tokenizer)
    return BlipConfig(
        text_config={
            "vocab_size": start + 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "bos_token_id": start,
            "eos_token_id": 2,
            "sep_token_id": tokenizer.sep_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **text,
        },
        vision_config={
            "hidden_size": vision_hidden,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "initializer_range": 0.02,  # the class's own default, 1e-10, makes a vision tower that is dead
        },
    )


def tiny_model(config: BlipConfig | None = None, *, seed: int = 0) -> BlipForConditionalGeneration:
    """A random model whose captions differ from image to image and have different lengths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BlipForConditionalGeneration(config or tiny_config()).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.3)
            # A random model hardly ever ends a caption: make [SEP] about as likely as in real ones.
            model.text_decoder.cls.predictions.bias[model.config.text_config.sep_token_id] += 4.0
    return model


def write_base(directory: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """As blip-image-captioning-base is published: `pytorch_model.bin` only."""
    model = tiny_model(seed=seed).to(dtype)
    _write_common(directory, model)
    weights = model.state_dict()
    text, vision = model.config.text_config, model.config.vision_config
    weights["text_decoder.bert.embeddings.position_ids"] = torch.arange(text.max_position_embeddings)[None]
    patches = (vision.image_size // vision.patch_size) ** 2
    weights["vision_model.embeddings.position_ids"] = torch.arange(patches + 1)[None]
    torch.save(weights, directory / "pytorch_model.bin")
    return directory


def write_large(directory: Path, *, seed: int = 0) -> Path:
    """As blip-image-captioning-large: a vision tower wider than the text decoder, `.bin` and safetensors."""
    model = tiny_model(tiny_config(vision_hidden=48), seed=seed)
    model.save_pretrained(directory)
    _write_common(directory, model)
    torch.save(model.state_dict(), directory / "pytorch_model.bin")
    return directory


def write_fp16(directory: Path, *, seed: int = 0) -> Path:
    """The base layout with half-precision weights, as people republish it."""
    return write_base(directory, dtype=torch.float16, seed=seed)


def _write_common(directory: Path, model: BlipForConditionalGeneration) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    config.pop("transformers_version", None)
    config["architectures"] = ["BlipForConditionalGeneration"]
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    config["text_config"] |= {
        "max_length": 20,
        "min_length": 0,
        "num_beams": 1,
        "num_beam_groups": 1,
        "length_penalty": 1.0,
        "do_sample": False,
        "early_stopping": False,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    processor = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    settings = {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": list(processor.image_mean),
        "image_processor_type": "BlipImageProcessor",
        "image_std": list(processor.image_std),
        "processor_class": "BlipProcessor",
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))
    tokenizer = bert_tokenizer()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in vocabulary), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "cls_token": "[CLS]",
                "do_lower_case": True,
                "mask_token": "[MASK]",
                "model_max_length": 512,
                "pad_token": "[PAD]",
                "sep_token": "[SEP]",
                "tokenizer_class": "BertTokenizer",
                "unk_token": "[UNK]",
            },
            indent=2,
        )
    )
