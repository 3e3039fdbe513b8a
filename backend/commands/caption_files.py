"""`captionloop caption`: captions of local files, without any service."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from captionloop.backend.terminal.progress import Progress
from captionloop.batches import batches
from captionloop.errors import CaptionFileError, ImageError
from captionloop.image_limits import ImageLimits
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.dataset.images import open_image
from captionloop.model.exchange.reading.directory import files_below, open_regular
from captionloop.model.exchange.reading.pictures import has_picture_name
from captionloop.model.versions.base import Base, name_and_generation

if TYPE_CHECKING:
    from PIL import Image

    from captionloop.model.captioning.captioner import Captioner
    from captionloop.settings import Settings

_BATCH = 16
_ADDRESS = re.compile("(https?|file|s3|gs):/", re.IGNORECASE)  # of its two slashes a path keeps one


@dataclass(frozen=True)
class BadFile:
    """A file or argument that cannot be captioned, with the reason."""

    image: str
    reason: str


@dataclass(frozen=True)
class CaptionedFile:
    """
    Args:
        score: the mean probability of the caption's tokens, 0 to 1.
        generation: settings: beams, prompt, precision, …
    """

    image: str
    caption: str
    score: float
    model_version: str
    generation: dict[str, Any]


def files_of(sources: Sequence[Path]) -> Iterator[Path | BadFile]:
    """The picture files of files, directories (all below them, by extension) and patterns with `*`.

    A file that is named itself may have any extension. No file is repeated.
    """
    seen: set[Path] = set()
    for source in sources:
        for found in _files_of(source):
            if isinstance(found, BadFile):
                yield found
            elif found not in seen:
                seen.add(found)
                yield found


def _files_of(source: Path) -> Iterator[Path | BadFile]:
    if source.is_dir():
        yield from _pictures_below(source)
    elif not source.exists() and glob.has_magic(str(source)):
        matching = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
        for match in matching:
            yield from _pictures_below(match) if match.is_dir() else [match]
        if not matching:
            yield BadFile(str(source), "no file's name fits this pattern.")
    elif not source.exists() and _ADDRESS.match(str(source)):
        yield BadFile(str(source), "it is an address; download the picture, and name the file.")
    else:
        yield source


def _pictures_below(directory: Path) -> Iterator[Path | BadFile]:
    try:
        found = sorted((file for file in files_below(directory) if has_picture_name(file.path)), key=lambda f: f.path)
    except CaptionFileError as error:
        yield BadFile(str(directory), str(error))
        return
    for file in found:
        path = directory / file.path
        yield path if file.problem is None else BadFile(str(path), f"it {file.problem}.")
    if not found:
        yield BadFile(str(directory), "there are no pictures in this directory.")


def caption_files(sources: Sequence[Path], settings: Settings) -> Iterator[CaptionedFile | BadFile]:
    """Caption the pictures of `files_of`, in their order, with a `BadFile` for each that cannot be read.

    Raises:
        CheckpointError: the model cannot be loaded.
        SettingsError: CAPTIONLOOP_DEVICE is not available.
    """
    limits = settings.image_limits
    found = list(files_of(sources))
    captioner: Captioner | None = None
    with Progress("Captioning") as progress:
        done = 0
        for batch in batches(found, _BATCH):
            opened = [_opened(file, limits) for file in batch]
            if any(not isinstance(item, BadFile) for item in opened):
                captioner = captioner or _captioner(settings)
                yield from _captioned(captioner, opened)
            else:
                yield from (item for item in opened if isinstance(item, BadFile))
            done += len(batch)
            progress.update(done, len(found))


def _captioner(settings: Settings) -> Captioner:
    from captionloop.model.captioning.captioner import Captioner

    asked = GenerationSettings(num_beams=settings.beams, prompt=settings.prompt)
    version, generation = name_and_generation(Base(settings.model, asked))
    precision = cast(Literal["auto", "fp32", "bf16"], settings.precision)
    return Captioner.load(
        settings.model, version=version, generation=generation, precision=precision, device=settings.device
    )


def _captioned(
    captioner: Captioner, opened: Sequence[tuple[Path, Image.Image] | BadFile]
) -> Iterator[CaptionedFile | BadFile]:
    suggestions = iter(captioner.caption([item[1] for item in opened if not isinstance(item, BadFile)]))
    for item in opened:
        if isinstance(item, BadFile):
            yield item
            continue
        suggestion = next(suggestions)
        yield CaptionedFile(
            image=str(item[0]),
            caption=suggestion.caption,
            score=suggestion.score,
            model_version=captioner.version,
            generation={**captioner.generation.to_dict(), "precision": captioner.precision},
        )


def _opened(file: Path | BadFile, limits: ImageLimits) -> tuple[Path, Image.Image] | BadFile:
    if isinstance(file, BadFile):
        return file
    try:
        with open_regular(file) as handle:
            return file, open_image(handle.read(limits.max_bytes + 1), limits=limits)
    except OSError as error:
        return BadFile(str(file), f"it cannot be read: {error.strerror}.")
    except ImageError as error:
        return BadFile(str(file), str(error))
