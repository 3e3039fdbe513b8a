"""Images that look alike: a copy that was saved again, resized, brightened or a little cropped.

Their captions say the same, so that one of them in training and another among the held-out images would make a version
look better than it is. They are therefore split as one.

Each image is compared with those that were known before it. It *looks like* the most similar one that itself looks like
no other, if that is similar enough, and else like itself only. This is decided once and written down, so that

* an image never changes its side of the split because of others that come later;
* there are no chains: of a thousand pictures, each a bit unlike the one before, the last is not like the first;
* an image between two that were known before is like one of them, and these stay apart, each on its side.

A perceptual hash of 64 or 256 bits (dHash, pHash, and PDQ's way with 256) did not tell our drawn scenes apart: with so
little in a picture most of the bits are noise, and none of them is about colour. The small picture that such a hash is
made from does, so that itself is the fingerprint; `python -m benchmarks.near_duplicates` measures it. It needs NumPy
alone, where the package `imagehash` brings SciPy and PyWavelets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from captionloop.errors import ImageError
from captionloop.home import Home
from captionloop.model.database import NEAR_DUPLICATES_LOCK, Correction, CorrectionState, Database, Image, wait_for_lock
from captionloop.model.dataset.images import open_image

_SIDE = (
    12  # pixels of a fingerprint; with 8, scenes of other captions are found alike, with 16, fewer cropped copies are
)
# The least cosine of the angle between two pictures' deviations from their mean colours. Of 8 million pairs of drawn
# scenes none with different captions reaches it (the closest has 0.9796). All copies do that were saved as JPEG,
# resized, darkened or given less contrast, nearly all with 1 % cut off at each edge, 7 of 8 with 2 %, a fifth with 3 %.
_LIKENESS = 0.98
_FLAT = 2.0  # grey levels (root mean square) below which a picture has no pattern that could be compared

_AT_ONCE = 1000  # images decided in one go
_COMPARED_AT_ONCE = 4096  # known images in memory at a time

Vectors = npt.NDArray[np.float32]


def fingerprint(picture: Pillow.Image) -> bytes:
    """The picture in 12 x 12 pixels, each the mean of what it covers: uint8 (12, 12, 3), as bytes."""
    return picture.convert("RGB").resize((_SIDE, _SIDE), Pillow.Resampling.BOX).tobytes()


def likeness(fingerprints: Sequence[bytes]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """How alike pictures are, each with each: float32 (images, images) of at most 1, and whether they are alike."""
    vectors = _vectors(fingerprints)
    found = vectors @ vectors.T
    return found, found >= _LIKENESS


def are_alike(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints are of near-duplicates."""
    return bool(likeness([one, other])[1][0, 1])


def settle(session: Session, home: Home) -> bool:
    """Decide for some of the images that are new which known ones they look like; False if there were none.

    Args:
        session: one that writes.
        home: where the images lie; read are those whose fingerprints were not made when they came.
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
    likes = _likes(session, [sha256 for sha256, _, _ in new], _vectors(fingerprints))
    session.execute(
        update(Image),
        [
            {"sha256": sha256, "fingerprint": made, "looks_like": like, "split_with": split_with or like}
            for (sha256, _, split_with), made, like in zip(new, fingerprints, likes, strict=True)
        ],
    )
    return True


def settle_all(database: Database, home: Home) -> None:
    """Decide for all images that are new, in transactions so short that nobody has to wait for long."""
    unsettled = True
    while unsettled:
        with database.session() as session:
            unsettled = settle(session, home)


def near_duplicates(session: Session, project_id: int) -> list[tuple[str, ...]]:
    """Groups of images that look alike, among those of a project's active corrections; in each the first known first.

    What has come since the last snapshot, sync or import is not looked at yet.
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
    """The fingerprint of an image that came before there were any; None if our copy cannot be read any more."""
    try:
        return fingerprint(open_image(home.image(sha256).read_bytes()))
    except (ImageError, OSError):
        return None


def _likes(session: Session, new: Sequence[str], vectors: Vectors) -> list[str]:
    """Which image each new one looks like."""
    best = np.full(len(new), _LIKENESS, dtype=np.float32)
    likes = list(new)
    for known, known_vectors in _known(session):
        found = vectors @ known_vectors.T
        closest = found.argmax(axis=1)
        for row in np.flatnonzero(found.max(axis=1) >= best).tolist():
            best[row], likes[row] = found[row, closest[row]], known[closest[row]]
    among_new = vectors @ vectors.T
    is_first = np.zeros(len(new), dtype=bool)
    for row in range(len(new)):
        candidates = np.where(is_first[:row], among_new[row, :row], -1)
        if row and candidates.max() >= best[row]:
            likes[row] = new[int(candidates.argmax())]
        is_first[row] = likes[row] == new[row]
    return likes


def _known(session: Session) -> Iterator[tuple[list[str], Vectors]]:
    """The images that look like no earlier one, some at a time: hashes, vectors."""
    chosen = select(Image.sha256, Image.fingerprint).where(
        Image.looks_like == Image.sha256, Image.fingerprint.is_not(None)
    )
    for rows in session.execute(chosen.execution_options(yield_per=_COMPARED_AT_ONCE)).partitions():
        yield [sha256 for sha256, _ in rows], _vectors([found for _, found in rows])


def _vectors(fingerprints: Sequence[bytes | None]) -> Vectors:
    """float32 (images, 432): deviations from the mean of each colour, of length 1, or 0 for what cannot be compared."""
    flat = bytes(_SIDE * _SIDE * 3)
    pixels = np.frombuffer(b"".join(found or flat for found in fingerprints), dtype=np.uint8)
    deviations = pixels.reshape(len(fingerprints), _SIDE * _SIDE, 3).astype(np.float32)
    deviations -= deviations.mean(axis=1, keepdims=True)
    vectors = deviations.reshape(len(fingerprints), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths < _FLAT * np.sqrt(vectors.shape[1]), 0, vectors / np.maximum(lengths, 1e-6))
