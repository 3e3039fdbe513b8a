"""`captionloop caption`: captions of local files, without any service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from captionloop.backend.commands.picture_files import BadFile, PictureFiles
from captionloop.backend.python.loading import load_captioner, named
from captionloop.backend.terminal.progress import Progress
from captionloop.batches import batches
from captionloop.errors import ImageError, SettingsError
from captionloop.image_limits import ImageLimits
from captionloop.model.dataset.images import open_image
from captionloop.model.exchange.caption_output import CaptionOutput, Format, WrittenCaption, open_output
from captionloop.model.exchange.reading.directory import open_regular

if TYPE_CHECKING:
    from PIL import Image

    from captionloop.model.captioning.captioner import Captioner
    from captionloop.settings import Settings

_BATCH = 16


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


@dataclass(frozen=True)
class Model:
    """A model by its name, which is loaded when the first picture asks for it.

    Args:
        prompt, style: as in `loading.named`.
    """

    settings: Settings
    prompt: str | None = None
    style: str | None = None

    @property
    def name(self) -> str:
        """
        Raises:
            CheckpointError: its directory is damaged, or it was not taught the style.
        """
        return named(self.settings.model, self.settings, prompt=self.prompt, style=self.style)[0]

    def load(self) -> Captioner:
        """
        Raises:
            CheckpointError: it cannot be loaded.
            SettingsError: CAPTIONLOOP_DEVICE names what is not here.
        """
        return load_captioner(self.settings.model, self.settings, prompt=self.prompt, style=self.style)


def caption_files(files: PictureFiles, model: Model) -> Iterator[CaptionedFile | BadFile]:
    """Caption pictures as they come; what cannot be read is among them with its reason.

    Raises:
        CheckpointError: the model cannot be loaded.
        SettingsError: CAPTIONLOOP_DEVICE is not available.
    """
    total = len(files)
    with Progress("Captioning") as progress:
        for done, found in enumerate(_captioned(files, model), start=1):
            yield found if isinstance(found, BadFile) else found[1]
            progress.update(done, total)


@dataclass
class Written:
    """How many captions were written, were there already, and could not be made."""

    new: int = 0
    known: int = 0
    bad: int = 0


def caption_into(
    files: PictureFiles,
    model: Model,
    out: Path,
    form: Format,
    *,
    force: bool,
    on_bad: Callable[[BadFile], None],
) -> Written:
    """Caption pictures into a file or directory, a batch in memory at a time; what is there is not made again.

    Raises:
        SettingsError: the directory lies among the pictures, so that its copies would be captioned next time.
        CaptionFileError: what is there is something else, or of another model.
        BusyError, StorageError: it cannot be written.
        CheckpointError: the model cannot be loaded.
    """
    if form == "imagefolder" and out.absolute() != files.root and out.absolute().is_relative_to(files.root):
        raise SettingsError(f"{out} lies among the pictures; name a place outside of them, or {files.root} itself.")
    count = Written()
    with open_output(out, form, model_version=model.name, force=force) as output, Progress("Captioning") as progress:
        total = len(files)
        for group in batches(_captioned(_missing(files, output, count), model), _BATCH):
            for bad in (found for found in group if isinstance(found, BadFile)):
                on_bad(bad)
                count.bad += 1
            rows = [_row(files, *found) for found in group if not isinstance(found, BadFile)]
            output.add(rows)
            count.new += len(rows)
            progress.update(count.new + count.known + count.bad, total)
        output.finish()
    return count


def _missing(files: PictureFiles, output: CaptionOutput, count: Written) -> Iterator[Path | BadFile]:
    for file in files:
        if isinstance(file, BadFile):
            yield file
        elif output.has(file, files.own_name(file)):
            count.known += 1
        else:
            problem = output.why_not(file)
            yield file if problem is None else BadFile(str(file), problem)


def _row(files: PictureFiles, image: Path, found: CaptionedFile) -> WrittenCaption:
    return WrittenCaption(image, files.own_name(image), found.caption, found.score, found.model_version)


def _captioned(files: Iterable[Path | BadFile], model: Model) -> Iterator[tuple[Path, CaptionedFile] | BadFile]:
    captioner: Captioner | None = None
    limits = model.settings.image_limits
    for batch in batches(files, _BATCH):
        opened: list[tuple[Path, Image.Image] | BadFile] = []
        for file in batch:
            found = _opened(file, limits)
            if not isinstance(found, BadFile):
                captioner = captioner or model.load()
                found = found[0], captioner.shrink(found[1])
            opened.append(found)
        yield from _in_order(captioner, opened)


def _in_order(
    captioner: Captioner | None, opened: list[tuple[Path, Image.Image] | BadFile]
) -> Iterator[tuple[Path, CaptionedFile] | BadFile]:
    good = [item for item in opened if not isinstance(item, BadFile)]
    suggestions = iter(captioner.caption([picture for _, picture in good]) if captioner and good else ())
    for item in opened:
        if isinstance(item, BadFile) or captioner is None:
            yield cast(BadFile, item)
            continue
        suggestion = next(suggestions)
        yield (
            item[0],
            CaptionedFile(
                image=str(item[0]),
                caption=suggestion.caption,
                score=suggestion.score,
                model_version=captioner.version,
                generation={**captioner.generation.to_dict(), "precision": captioner.precision},
            ),
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
