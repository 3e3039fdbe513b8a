"""Export of a snapshot as pictures with a text file beside each, under the names that they had where they came from.

    cats/001.png cats/001.txt          several captions: one in each line

It may be written into a directory that has files, such as the one that the pictures came from: a picture that lies
there already is left as it is, and a text of other captions stays too, unless it is forced. Each file is complete or
not there, so that after a kill the same export goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from captionloop.errors import CaptionFileError
from captionloop.home import Home, atomically, storing
from captionloop.model.dataset.images import content_hash
from captionloop.model.exchange.safe_names import folded, safe_name, with_mark
from captionloop.model.exchange.sidecar_names import possible_texts, says, shares_stem, text_of

_MARK = 8  # hexadecimal digits of an image's hash


@dataclass
class SidecarResult:
    """What an export did.

    Args:
        images: pictures that are there with their captions.
        new, known, replaced: texts that were written, were there already, and were written over by force.
        kept: texts of other captions, which stay.
        failed: pictures that could not be written.
        renamed: pictures that have another name than where they came from.
        with_several: pictures with several captions.
    """

    images: int = 0
    new: int = 0
    known: int = 0
    replaced: int = 0
    kept: int = 0
    failed: int = 0
    renamed: int = 0
    with_several: int = 0


@dataclass
class SidecarExport:
    """Writes pictures and texts below a directory.

    Args:
        force: whether texts of other captions are written over.
        kind_of: the file ending of a picture's format.
        tell: called with a sentence on each file that is not written as it might be expected.
    """

    home: Home
    target: Path
    force: bool
    kind_of: Callable[[Path], str]
    tell: Callable[[str], None]
    result: SidecarResult = field(default_factory=SidecarResult)

    def write(self, captions: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> SidecarResult:
        """Write all pictures.

        Args:
            captions: image → its captions.
            names: image → where it came from; one that is not there is named by its hash.

        Raises:
            CaptionFileError: the target is a file.
            CaptionloopError: one of our copies of the pictures is gone.
            StorageError: the disk is full or read-only.
        """
        if self.target.exists() and not self.target.is_dir():
            raise CaptionFileError(f"{self.target} is a file; name a directory.")
        with storing(self.target):
            self.target.mkdir(parents=True, exist_ok=True)
        plan = _Plan(self.target, {image: self.kind_of(self.home.image(image)) for image in captions})
        # Two names of one picture may be the same place.
        placed = {plan.place(image, name): (image, name) for image in captions for name in names.get(image, [image])}
        for place, (image, name) in placed.items():
            if name not in (place, image):
                self.result.renamed += 1
                self.tell(f"{name!r} is written as {place!r}{plan.why(image, name, place)}.")
            self._write(image, place, captions[image], shares=plan.shares_stem(place))
        self.result.with_several = sum(len(texts) > 1 for texts in captions.values())
        return self.result

    def _write(self, image: str, place: str, captions: Sequence[str], *, shares: bool) -> None:
        picture = self.target / place
        if problem := self._problem(picture, image):
            self.result.failed += 1
            self.tell(f"{place!r} is not written: {problem}.")
            return
        if not picture.exists():
            with storing(picture), atomically(picture) as temporary:
                shutil.copyfile(self.home.image(image), temporary)
        self.result.images += 1
        texts = [self.target / text for text in possible_texts(place, shares_stem=shares or shares_stem(picture))]
        self._write_text(texts, captions)

    def _problem(self, picture: Path, image: str) -> str | None:
        """Why a picture cannot be written, or is not the one that is there."""
        parent = next(parent for parent in picture.parents if parent.exists())
        if not parent.resolve().is_relative_to(self.target.resolve()):
            return f"{parent} is a link that leads out of {self.target}"
        if not parent.is_dir():
            return f"{parent} is a file"
        return None if not picture.exists() or _has_hash(picture, image) else "there is something else of that name"

    def _write_text(self, texts: Sequence[Path], captions: Sequence[str]) -> None:
        present = [text for text in texts if text.exists()]
        if present and all(says(text, captions) for text in present):
            self.result.known += 1
            return
        if any(not text.is_file() for text in present) or (present and not self.force):
            self.result.kept += 1
            self.tell(f"{present[0]} is there with another text, and stays as it is (--force writes over it).")
            return
        for text in present or texts[:1]:
            with storing(text), atomically(text) as temporary:
                temporary.write_bytes(text_of(captions))
        if present:
            self.result.replaced += 1
        else:
            self.result.new += 1


class _Plan:
    """Gives each picture a place of its own below the target."""

    def __init__(self, target: Path, kinds: Mapping[str, str]) -> None:
        """
        Args:
            kinds: image → the file ending of its format.
        """
        self._target, self._kinds = target, kinds
        self._taken: dict[str, str] = {}  # the folded name → the image
        self._directories: set[str] = set()
        self._stems: dict[str, int] = {}

    def place(self, image: str, name: str) -> str:
        """Where a picture goes; if something else lies at all places that it could have, the last of them."""
        candidates = list(self._candidates(image, name))
        found = next((place for place in candidates if self._is_free(place, image)), candidates[-1])
        if folded(found) not in self._taken:  # else it is another name of this picture
            self._taken[folded(found)] = image
            self._directories |= {folded(str(parent)) for parent in PurePosixPath(found).parents}
            stem = _stem(found)
            self._stems[stem] = self._stems.get(stem, 0) + 1
        return found

    def shares_stem(self, place: str) -> bool:
        return self._stems[_stem(place)] > 1

    def why(self, image: str, name: str, place: str) -> str:
        is_twin = place != safe_name(name, kind=self._kinds[image])
        return ": another picture has that name" if is_twin else ", since no file can safely be called so"

    def _candidates(self, image: str, name: str) -> Iterator[str]:
        if self._lies_there(image, name):
            yield name
        hashed = f"{image}.{self._kinds[image]}"
        safe = hashed if name == image else safe_name(name, kind=self._kinds[image]) or hashed
        yield safe
        yield with_mark(safe, image[:_MARK])
        yield with_mark(safe, image)
        yield hashed

    def _is_free(self, place: str, image: str) -> bool:
        taken = self._taken.get(folded(place))
        if taken is not None:
            return taken == image
        parents = [folded(str(parent)) for parent in PurePosixPath(place).parents]
        if folded(place) in self._directories or any(parent in self._taken for parent in parents):
            return False
        picture = self._target / place
        return not picture.exists() or _has_hash(picture, image)

    def _lies_there(self, image: str, name: str) -> bool:
        """Whether the target has the picture under its own name, so that it need not be safe elsewhere."""
        if "\0" in name or name.startswith("/") or ".." in name.split("/"):
            return False
        return _has_hash(self._target / name, image)


def _stem(place: str) -> str:
    return folded(place.rpartition(".")[0])


def _has_hash(path: Path, image: str) -> bool:
    try:
        return path.is_file() and content_hash(path.read_bytes()) == image
    except (OSError, ValueError):  # a name that is too long or no text, or a file that is not to be read
        return False
