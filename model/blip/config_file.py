"""A checkpoint's `config.json` and the index of its weights, checked before `transformers` reads them.

What a stranger wrote there decides how much memory a model takes before any of its weights is looked at, and which
files are opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from captionloop.errors import CheckpointError
from captionloop.json_files import MOST_BYTES, load_json

CONFIG = "config.json"
_MOST_BYTES = 2**20  # of config.json; published ones have up to 6 KB
_WEIGHTS = ("*.safetensors", "*.bin")
_FEW_WEIGHTS = 2**27  # half a gigabyte in float32
# Far above every published BLIP (BLIP-large: 24 layers of 1024, 4096 in between), far below what fills a machine.
_Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
_Width = Annotated[int, Field(strict=True, ge=1, le=65_536)]
_Words = Annotated[int, Field(strict=True, ge=1, le=2_000_000)]


class _Tower(BaseModel):
    """What both towers have."""

    hidden_size: _Width | None = None
    intermediate_size: _Width | None = None
    projection_dim: _Width | None = None
    num_hidden_layers: _Layers | None = None
    num_attention_heads: _Layers | None = None
    layer_norm_eps: float | None = None
    hidden_act: str | None = None

    def fewest_weights(self) -> int:
        """Those of self-attention (four square matrices) and of the two layers behind it; 0 if a size is not given."""
        width, between = self.hidden_size or 0, self.intermediate_size or 0
        return (self.num_hidden_layers or 0) * (4 * width * width + 2 * width * between)


class _Vision(_Tower):
    image_size: _Width | None = None
    patch_size: _Width | None = None


class _Text(_Tower):
    encoder_hidden_size: _Width | None = None
    max_position_embeddings: _Width | None = None
    vocab_size: _Words | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    sep_token_id: int | None = None


class _Config(BaseModel):
    model_type: str | None = None
    architectures: list[str] | None = None
    vision_config: _Vision | None = None
    text_config: _Text | None = None
    projection_dim: _Width | None = None
    image_text_hidden_size: _Width | None = None
    tie_word_embeddings: bool | None = None


def check_config(directory: Path) -> None:
    """
    Raises:
        CheckpointError: there is no config.json, it is no BLIP's for captioning, or asks for absurd sizes.
    """
    path = directory / CONFIG
    try:
        config = _Config.model_validate(_read_json(path, most_bytes=_MOST_BYTES))
    except FileNotFoundError as error:
        raise CheckpointError(f"{directory} has no config.json, so it is no model directory.") from error
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"])) or "the file"
        raise CheckpointError(f"{path}: {field} is {_shortened(found['input'])}. {found['msg']}.") from error
    if config.model_type != "blip":
        raise CheckpointError(f"{path} describes a model of type {config.model_type!r}; expected 'blip'.")
    architectures = config.architectures or ["BlipForConditionalGeneration"]
    if "BlipForConditionalGeneration" not in architectures:
        raise CheckpointError(
            f"{path} describes {', '.join(architectures)}, a BLIP that does not caption; "
            "expected BlipForConditionalGeneration."
        )
    _check_size(directory, config)


def _check_size(directory: Path, config: _Config) -> None:
    """A weight takes a byte at least; what is asked for beyond the stored ones would take memory for nothing."""
    stored = sum(path.stat().st_size for pattern in _WEIGHTS for path in directory.glob(pattern))
    asked = sum(tower.fewest_weights() for tower in (config.vision_config, config.text_config) if tower)
    if asked > max(stored, _FEW_WEIGHTS):
        raise CheckpointError(
            f"{directory / CONFIG} describes a model of {asked:,} weights or more, but its files have {stored:,} bytes."
        )


def check_weight_index(path: Path) -> None:
    """See that an index of weights names files beside itself; one that is not there is no error.

    Raises:
        CheckpointError: it is damaged, or names a file elsewhere or one that is missing.
    """
    try:
        index = _read_json(path)
    except FileNotFoundError:
        return
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise CheckpointError(f"{path} has no weight_map from weights to files.")
    for name in sorted(set(files.values())):
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise CheckpointError(f"{path} names the file {name!r}, which does not lie beside it.")
        if not (path.parent / name).is_file():
            raise CheckpointError(f"{path} names the file {name}, which is missing.")


def _read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    try:
        return load_json(path, most_bytes=most_bytes)
    except FileNotFoundError:
        raise
    except OSError as error:  # a directory of that name, a link to itself
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} {error}.") from error


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
