"""Import of a captioned dataset as corrections: good rows are stored, bad ones are reported.

A dataset is read as a stream: only a batch of captions and some pictures are in memory. A batch is one transaction, and
a caption is identified by its image and text. So a killed import that is started again adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from captionloop.batches import batches
from captionloop.errors import ImageError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Database
from captionloop.model.dataset import corrections, picture_names
from captionloop.model.dataset.corrections import ImportedCaption, StoredImage
from captionloop.model.dataset.images import content_hash
from captionloop.model.dataset.near_duplicates import settle_all
from captionloop.model.exchange.reading import FORMATS, BadRow, Format, PictureBytes, Place, Row, Source, find_source

__all__ = ["FORMATS", "BadRow", "Format", "ImportResult", "Place", "Source", "find_source", "import_dataset"]

_BATCH = 200  # rows
_PICTURES_AT_ONCE = 4


@dataclass(frozen=True)
class ImportResult:
    """Counts of added captions, of captions that the project had already, and of bad rows."""

    new: int = 0
    known: int = 0
    bad: int = 0


def import_dataset(
    source: Source,
    project_id: int,
    *,
    database: Database,
    home: Home,
    limits: ImageLimits,
    limit: int | None = None,
    on_bad: Callable[[BadRow], None],
    on_progress: Callable[[float], None],
) -> ImportResult:
    """Make active corrections of a dataset's captions.

    Args:
        project_id: `project.id` in our database.
        limits: which images are too large.
        limit: how many rows to read; None: all.
        on_bad: called with each bad row.
        on_progress: called with the share of the source that is done, 0 to 1.

    Raises:
        CaptionFileError: the caption file as a whole cannot be read.
    """
    new = known = bad = 0
    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as threads:
        for rows in batches(islice(source.rows(), limit), _BATCH):
            pictures = dict.fromkeys(row.picture for row in rows if isinstance(row, Row))  # in the order of the rows
            images = _store(pictures, database, home, limits, threads)
            captions: list[ImportedCaption] = []
            names: list[tuple[str, str]] = []  # image and its name
            for row in _looked_at(rows, images):
                if isinstance(row, BadRow):
                    on_bad(row)
                    bad += 1
                else:
                    captions += _captions(row, images)
                    names.append((_hash_of(row, images), row.name))
            added = _add(captions, names, images, project_id, database)
            new += added
            known += len(captions) - added
            on_progress(rows[-1].share)
    settle_all(database, home)
    return ImportResult(new=new, known=known, bad=bad)


_Images = Mapping[PictureBytes, StoredImage | str | ImageError]
"""A newly stored picture, the hash of one that exists, or the error."""


def _store(
    pictures: Iterable[PictureBytes], database: Database, home: Home, limits: ImageLimits, threads: ThreadPoolExecutor
) -> _Images:
    """Store copies of new pictures; existing ones are not decoded again."""

    def digest(picture: PictureBytes) -> str | ImageError:
        try:
            return content_hash(picture.read(max_bytes=limits.max_bytes))
        except ImageError as error:
            return error

    def store(picture: PictureBytes) -> StoredImage | ImageError:
        try:
            data = picture.read(max_bytes=limits.max_bytes)
            return corrections.write_image(home, data, limits=limits)
        except ImageError as error:
            return error

    pictures = list(pictures)
    found: dict[PictureBytes, StoredImage | str | ImageError] = dict(
        zip(pictures, threads.map(digest, pictures), strict=True)
    )
    hashes = {sha256 for sha256 in found.values() if isinstance(sha256, str)}
    with database.reading() as session:
        there = {sha256 for sha256 in corrections.registered_images(session, hashes) if home.image(sha256).exists()}
    missing = [picture for picture, sha256 in found.items() if isinstance(sha256, str) and sha256 not in there]
    found |= zip(missing, threads.map(store, missing), strict=True)
    return found


def _looked_at(rows: Sequence[Row | BadRow], images: _Images) -> Iterator[Row | BadRow]:
    """The rows, with those whose picture cannot be used as bad ones."""
    for row in rows:
        image = images[row.picture] if isinstance(row, Row) else None
        yield BadRow(row.place, str(image), row.share) if isinstance(image, ImageError) else row


def _captions(row: Row, images: _Images) -> list[ImportedCaption]:
    sha256 = _hash_of(row, images)
    place = str(Place(row.place.file.absolute(), row.place.line, row.place.entry))
    return [ImportedCaption(sha256, caption, place) for caption in row.captions]


def _hash_of(row: Row, images: _Images) -> str:
    image = images[row.picture]
    return image.sha256 if isinstance(image, StoredImage) else str(image)


def _add(
    captions: Sequence[ImportedCaption],
    names: Sequence[tuple[str, str]],
    images: _Images,
    project_id: int,
    database: Database,
) -> int:
    with database.session() as session:
        for image in images.values():
            if isinstance(image, StoredImage):
                corrections.register_image(session, image)
        picture_names.remember(session, project_id, names)
        return corrections.add_imported(session, project_id, captions)
