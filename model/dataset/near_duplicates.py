"""Near-duplicates: copies that were re-encoded, resized, brightened or slightly cropped.

Their captions are the same, so one in training and another among the held-out images would leak. They are therefore on
the same side of the split.

Each new image is compared with all known ones. It *looks like* the most similar one that itself looks like no other, if
that is similar enough, and else only like itself. This is decided once and stored, so that

* later images never move an image to the other side of the split;
* there are no chains: of a thousand pictures, each slightly unlike the one before, the last does not match the first;
* an image between two known ones matches one of them, and these stay separate.

Perceptual hashes of 64 or 256 bits (dHash, pHash, PDQ) did not separate our drawn scenes: in pictures with so little
detail most bits are noise, and none is about colour. The downscaled picture itself does, so that is the fingerprint
(`python -m benchmarks.near_duplicates`). It needs only NumPy; the package `imagehash` brings SciPy and PyWavelets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from captionloop.batches import batches
from captionloop.errors import ImageError
from captionloop.home import Home
from captionloop.model.database import NEAR_DUPLICATES_LOCK, Correction, CorrectionState, Database, Image, wait_for_lock
from captionloop.model.dataset.images import open_image

_SIDE = (
    12  # pixels of a fingerprint; with 8, scenes of other captions are found alike, with 16, fewer cropped copies are
)
# The least cosine similarity of two pictures' deviations from their mean colours. Of 8 million pairs of drawn scenes
# none with different captions reaches it (the closest has 0.9796). All copies do that were re-encoded as JPEG, resized,
# darkened or reduced in contrast, nearly all with 1 % cropped at each edge, 7 of 8 with 2 %, a fifth with 3 %.
_LIKENESS = 0.98
_FLAT = 2.0  # grey levels (root mean square); below, a picture is too uniform to be compared

_AT_ONCE = 1000  # images decided in one go
_COMPARED_AT_ONCE = 4096  # known images in memory at a time

Vectors = npt.NDArray[np.float32]


def fingerprint(picture: Pillow.Image) -> bytes:
    """The picture box-filtered to 12 x 12 pixels: uint8 (12, 12, 3), as bytes."""
    return picture.convert("RGB").resize((_SIDE, _SIDE), Pillow.Resampling.BOX).tobytes()


def likeness(fingerprints: Sequence[bytes]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Pairwise cosine similarity, float32 (images, images), and whether each pair counts as near-duplicates."""
    vectors = _vectors(fingerprints)
    found = vectors @ vectors.T
    return found, found >= _LIKENESS


def are_alike(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints belong to near-duplicates."""
    return bool(likeness([one, other])[1][0, 1])


def settle(session: Session, home: Home) -> bool:
    """Decide for some undecided images which known ones they look like; False if there were none.

    Args:
        session: one that writes.
        home: of the images; those without a stored fingerprint are read.
    """
    wait_for_lock(session.connection(), NEAR_DUPLICATES_LOCK)
    new = session.execute(
        select(Image.sha256, Image.fingerprint, Image.split_with)
        .where(Image.looks_like.is_(None))
        .order_by(Image.created_at, Image.sha256)
        .limit(_AT_ONCE)
    ).all()
    if not new:
        return False
    fingerprints = [found or _read(home, sha256) for sha256, found, _ in new]
    likes = _likes(_known(session), [sha256 for sha256, _, _ in new], _vectors(fingerprints))
    session.execute(
        update(Image),
        [
            {"sha256": sha256, "fingerprint": made, "looks_like": like, "split_with": split_with or like}
            for (sha256, _, split_with), made, like in zip(new, fingerprints, likes, strict=True)
        ],
    )
    return True


def settle_all(database: Database, home: Home) -> None:
    """Decide for all undecided images, in short transactions."""
    unsettled = True
    while unsettled:
        with database.session() as session:
            unsettled = settle(session, home)


def which_look_alike(fingerprints: Mapping[str, bytes]) -> dict[str, str]:
    """What `settle` would decide for images that came in this order, without a database.

    Args:
        fingerprints: image → its fingerprint.

    Returns:
        image → the one that it looks like, or itself.
    """
    known: list[tuple[list[str], Vectors]] = []
    likes: dict[str, str] = {}
    for new in batches(list(fingerprints), _AT_ONCE):
        vectors = _vectors([fingerprints[image] for image in new])
        found = dict(zip(new, _likes(known, new, vectors), strict=True))
        first = [row for row, image in enumerate(new) if found[image] == image]
        known.append(([new[row] for row in first], vectors[first]))
        likes |= found
    return likes


def near_duplicates(session: Session, project_id: int) -> list[tuple[str, ...]]:
    """Groups of near-duplicates among the images of a project's active corrections, each with the first known first.

    Images since the last snapshot, sync or import are not decided yet.
    """
    of_project = (Correction.project_id == project_id, Correction.state == CorrectionState.ACTIVE)
    several = (
        select(Image.looks_like)
        .join(Correction, Correction.image_sha256 == Image.sha256)
        .where(*of_project)
        .group_by(Image.looks_like)
        .having(func.count(Image.sha256.distinct()) > 1)
    )
    rows = session.execute(
        select(Image.looks_like, Image.sha256)
        .where(Image.looks_like.in_(several), Image.sha256.in_(select(Correction.image_sha256).where(*of_project)))
        .order_by(Image.created_at, Image.sha256)
    )
    groups: dict[str | None, list[str]] = {}
    for like, sha256 in rows:
        groups.setdefault(like, []).append(sha256)
    return [tuple(group) for group in groups.values()]


def _read(home: Home, sha256: str) -> bytes | None:
    """The fingerprint of an image of an earlier release; None if our copy cannot be read."""
    try:
        return fingerprint(open_image(home.image(sha256).read_bytes()))
    except (ImageError, OSError):
        return None


def _likes(known: Iterable[tuple[list[str], Vectors]], new: Sequence[str], vectors: Vectors) -> list[str]:
    """Which image each new one looks like; `known` are those that look like no earlier one."""
    best = np.full(len(new), _LIKENESS, dtype=np.float32)
    likes = list(new)
    for images, known_vectors in known:
        found = vectors @ known_vectors.T
        closest = found.argmax(axis=1)
        for row in np.flatnonzero(found.max(axis=1) >= best).tolist():
            best[row], likes[row] = found[row, closest[row]], images[closest[row]]
    among_new = vectors @ vectors.T
    is_first = np.zeros(len(new), dtype=bool)
    for row in range(len(new)):
        candidates = np.where(is_first[:row], among_new[row, :row], -1)
        if row and candidates.max() >= best[row]:
            likes[row] = new[int(candidates.argmax())]
        is_first[row] = likes[row] == new[row]
    return likes


def _known(session: Session) -> Iterator[tuple[list[str], Vectors]]:
    """The images that look like no earlier one, in blocks: hashes, vectors."""
    chosen = select(Image.sha256, Image.fingerprint).where(
        Image.looks_like == Image.sha256, Image.fingerprint.is_not(None)
    )
    for rows in session.execute(chosen.execution_options(yield_per=_COMPARED_AT_ONCE)).partitions():
        yield [sha256 for sha256, _ in rows], _vectors([found for _, found in rows])


def _vectors(fingerprints: Sequence[bytes | None]) -> Vectors:
    """float32 (images, 432): deviations from the mean of each colour, of length 1, or 0 if too uniform to compare."""
    flat = bytes(_SIDE * _SIDE * 3)
    pixels = np.frombuffer(b"".join(found or flat for found in fingerprints), dtype=np.uint8)
    deviations = pixels.reshape(len(fingerprints), _SIDE * _SIDE, 3).astype(np.float32)
    deviations -= deviations.mean(axis=1, keepdims=True)
    vectors = deviations.reshape(len(fingerprints), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths < _FLAT * np.sqrt(vectors.shape[1]), 0, vectors / np.maximum(lengths, 1e-6))
