"""Loading and saving BLIP captioning models, in the ordinary `transformers` layout and no other.

What is read: a directory or hub id with `config.json`, weights (`model.safetensors`, or the `pytorch_model.bin` of the
published base model, which is unpickled with `weights_only`), tokenizer and image processor. What is written is always
safetensors. Code that comes with a model is never run. A missing weight is an error here; `transformers` would
initialise it at random.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from captionloop.errors import CheckpointError
from captionloop.home import storing
from captionloop.model.blip.config_file import check_config, check_weight_index
from captionloop.model.blip.fit import check_fit
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.blip.model_source import local_directory

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_BIN = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")

# Buffers that old versions of `transformers` saved and later ones compute. The published models contain them.
_HARMLESS = re.compile(r"(^|\.)position_ids$")

# What the encoder's output depends on besides its weights.
_VISION_CONFIG = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
)
_PREPROCESSING = (
    "do_convert_rgb",
    "do_resize",
    "size",
    "resample",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)

_quiet_lock = threading.Lock()


@dataclass
class Checkpoint:
    """A model with its tokenizer, image processor and source."""

    model: BlipForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    image_processor: BlipImageProcessorPil
    source: str


def load_checkpoint(
    source: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Checkpoint:
    """Load a BLIP captioning model, ready to caption (`eval` mode).

    Args:
        source: a directory, a hub id such as "Salesforce/blip-image-captioning-base", or "starter".
        dtype: of the weights in memory, whatever they were stored in.
        device: where the weights go.

    Raises:
        CheckpointError: the model does not exist, cannot be reached, is not a BLIP for captioning, or its files are
            missing, damaged or do not match each other.
    """
    directory = _locate(source)
    check_config(directory)
    safe = _has_safetensors(directory)
    check_weight_index(directory / (_SAFETENSORS if safe else _BIN)[1])
    with _quiet_transformers():
        model = _in_memory(_load_model(directory, dtype=dtype, use_safetensors=safe))
        tokenizer = load_tokenizer(directory)
        image_processor = _load_image_processor(directory)
    check_fit(directory, model.eval(), tokenizer, image_processor)
    return Checkpoint(model.to(device), tokenizer, image_processor, str(source))


def save_checkpoint(
    checkpoint: Checkpoint,
    directory: str | Path,
    *,
    dtype: torch.dtype | None = None,
    generation: GenerationSettings | None = None,
) -> None:
    """Write a model so that plain `BlipForConditionalGeneration` and `BlipProcessor` load it with `from_pretrained`.

    Args:
        checkpoint: what to write; it is not changed.
        directory: created if missing.
        dtype: of the stored weights; None keeps the model's own.
        generation: written to `generation_config.json`, for plain `transformers`; None writes none.

    Raises:
        StorageError: the disk is full or read-only.
    """
    directory = Path(directory)
    model = checkpoint.model
    if dtype is not None and dtype != model.dtype:
        model = copy.deepcopy(model).to(dtype)
    with storing(directory, also=(SafetensorError,)):
        directory.mkdir(parents=True, exist_ok=True)
        _write(checkpoint, model, directory, generation)


def _write(
    checkpoint: Checkpoint,
    model: BlipForConditionalGeneration,
    directory: Path,
    generation: GenerationSettings | None,
) -> None:
    with _quiet_transformers():
        model.save_pretrained(directory)
        checkpoint.tokenizer.save_pretrained(directory)
        if generation is not None:
            GenerationConfig(**generation.for_transformers(model.config.text_config)).save_pretrained(directory)
    # Under its generic class name, so that any version of `transformers` finds its own implementation.
    settings = checkpoint.image_processor.to_dict() | {"image_processor_type": "BlipImageProcessor"}
    (directory / "preprocessor_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def encoder_hash(checkpoint: Checkpoint) -> str:
    """SHA-256 of everything that determines the image encoder's output: 64 hexadecimal digits.

    It covers the vision tower's weights (as float32, so that an exact copy in a wider dtype has the same hash), its
    configuration and the preprocessing; nothing of the text decoder.
    """
    vision, processor = checkpoint.model.config.vision_config, checkpoint.image_processor.to_dict()
    settings = {
        "vision": {name: _plain(getattr(vision, name)) for name in _VISION_CONFIG},
        "preprocessing": {name: _plain(processor.get(name)) for name in _PREPROCESSING},
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(checkpoint.model.vision_model.state_dict().items()):
        digest.update(f"\n{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON represents it: enumerations as numbers, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return list(value)
    return value if isinstance(value, bool | str | float | None) else int(value)


def _locate(source: str | Path) -> Path:
    directory = local_directory(source)
    if directory is not None:
        return directory
    if Path(source).expanduser().exists():
        raise CheckpointError(f"{source} is a file; expected a model directory with config.json and weights in it.")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"There is no model directory {source}.")
    return _download(source)


def _download(hub_id: str) -> Path:
    """Fetch a model from the hub, or find it in the hub's cache; only the files that are read, and no code."""
    try:
        directory = Path(snapshot_download(hub_id, allow_patterns=["*.json", "vocab.txt", "model*.safetensors"]))
        if not _any_file(directory, _SAFETENSORS):
            snapshot_download(hub_id, allow_patterns=["pytorch_model*.bin"])
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"The hub has no public model {hub_id}, and there is no directory of that name; "
            "check the spelling, or set HF_TOKEN if it is private."
        ) from error
    except Exception as error:  # HTTP libraries differ in what they raise when the network fails
        raise CheckpointError(
            f"The hub cannot be reached to fetch {hub_id} ({_first_line(error)}). Check the network, or download it "
            f"elsewhere (hf download {hub_id} --local-dir DIRECTORY) and name that directory as the model."
        ) from error
    return directory


def _has_safetensors(directory: Path) -> bool:
    if _any_file(directory, _SAFETENSORS):
        return True
    if _any_file(directory, _BIN):
        return False
    pickles = sorted(p.name for p in directory.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
    also = f" ({', '.join(pickles)} is not read: a pickle may run code)" if pickles else ""
    raise CheckpointError(f"{directory} has no weights: expected {_SAFETENSORS[0]} or {_BIN[0]}{also}.")


def _any_file(directory: Path, names: tuple[str, ...]) -> bool:
    return any((directory / name).is_file() for name in names)


def _load_model(directory: Path, *, dtype: torch.dtype, use_safetensors: bool) -> BlipForConditionalGeneration:
    try:
        model, info = BlipForConditionalGeneration.from_pretrained(
            directory,
            dtype=dtype,
            use_safetensors=use_safetensors,
            weights_only=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # each file format and check has its own exceptions
        if _holds_code(error):
            raise CheckpointError(
                f"The weights in {directory} hold more than numbers, which could run code, and so are not loaded. Take "
                "a model.safetensors of this model, or do not use it."
            ) from error
        if "ignore_mismatched_sizes" in str(error):  # transformers names them in a log alone
            raise CheckpointError(
                f"The weights in {directory} have other shapes than its config.json says. Take both from one model."
            ) from error
        raise CheckpointError(f"The model in {directory} cannot be loaded: {_first_line(error)}.") from error
    missing = {name for name in info["missing_keys"] if not _HARMLESS.search(name)}
    unexpected = {name for name in info["unexpected_keys"] if not _HARMLESS.search(name)}
    for problem, names in (
        ("lack", missing),
        ("have unknown", unexpected),
        ("have another shape than config.json says for", {str(key[0]) for key in info["mismatched_keys"]}),
    ):
        if names:
            raise CheckpointError(f"The weights in {directory} {problem} {_some(sorted(names))}.")
    return model


def _in_memory(model: BlipForConditionalGeneration) -> BlipForConditionalGeneration:
    """Copy the weights out of the mapped file: truncating a mapped file kills the process (SIGBUS)."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def _holds_code(error: Exception) -> bool:
    """Whether PyTorch refused to unpickle something. Its message, which is not shown, explains how to bypass that."""
    return type(error).__name__ == "UnpicklingError" and "Weights only load failed" in str(error)


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a BLIP directory.

    Raises:
        CheckpointError: there is none, or it cannot be loaded.
    """
    # Without this check `transformers` creates a tokenizer with an empty vocabulary, whose every token is [UNK].
    if not _any_file(directory, _TOKENIZER_FILES):
        raise CheckpointError(f"{directory} has no tokenizer: expected {' or '.join(_TOKENIZER_FILES)}.")
    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise CheckpointError(f"The tokenizer in {directory} cannot be loaded: {_first_line(error)}.") from error


def _load_image_processor(directory: Path) -> BlipImageProcessorPil:
    # The PIL one, whether or not torchvision is installed: the two resize differently, so captions would differ.
    try:
        return BlipImageProcessorPil.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # as above
        raise CheckpointError(f"The image processor in {directory} cannot be loaded: {_first_line(error)}.") from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and load reports on stderr: problems with a model become a `CheckpointError`."""
    with _quiet_lock:
        verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
            if bar:
                transformers_logging.enable_progress_bar()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__
