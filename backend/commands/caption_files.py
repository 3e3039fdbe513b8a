"""`captionloop caption`: captions for files on this machine, with the base model and without any service."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from PIL import Image

from captionloop.backend.terminal.progress import Progress
from captionloop.errors import ImageError
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.dataset.images import ImageLimits, open_image
from captionloop.model.versions.base import Base, name_and_generation
from captionloop.settings import Settings

_BATCH = 16


def caption_files(paths: Sequence[Path], settings: Settings) -> list[dict[str, Any]]:
    """Caption image files, all or none.

    Returns:
        for each file, in order: `image`, `caption`, `score` (0 to 1), `model_version`, `generation`.

    Raises:
        ImageError: a file is not there or holds no picture; it is named. Nothing is captioned then.
        CheckpointError: the model cannot be loaded.
        SettingsError: CAPTIONLOOP_DEVICE names what is not here.
    """
    from captionloop.model.captioning.captioner import Captioner

    limits = settings.image_limits
    for path in paths:  # before the model loads, and holding one picture at a time
        _open(path, limits)
    generation = GenerationSettings(num_beams=settings.beams, prompt=settings.prompt)
    precision = cast(Literal["auto", "fp32", "bf16"], settings.precision)
    version, generation = name_and_generation(Base(settings.model, generation))
    captioner = Captioner.load(
        settings.model, version=version, generation=generation, precision=precision, device=settings.device
    )
    found: list[dict[str, Any]] = []
    with Progress("Captioning") as progress:
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            suggestions = captioner.caption([_open(path, limits) for path in batch])
            for path, suggestion in zip(batch, suggestions, strict=True):
                found.append(
                    {
                        "image": str(path),
                        "caption": suggestion.caption,
                        "score": suggestion.score,
                        "model_version": captioner.version,
                        "generation": {**generation.to_dict(), "precision": captioner.precision},
                    }
                )
            progress.update(len(found), len(paths))
    return found


def _open(path: Path, limits: ImageLimits) -> Image.Image:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return open_image(data, limits=limits)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
