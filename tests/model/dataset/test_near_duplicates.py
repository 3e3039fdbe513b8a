"""Images that look alike are on one side of the split, and what was decided stays."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.model.dataset.test_corrections import new_project, record

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Correction, CorrectionState, Database, Image
from captionloop.model.dataset import corrections, near_duplicates
from captionloop.model.dataset.corrections import read_snapshot
from captionloop.model.dataset.near_duplicates import are_alike, fingerprint
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw

SIZE = 192


def scene(number: int) -> Pillow.Image:
    drawn, seed = example("near-duplicates test", number)
    return draw(drawn, SIZE, seed)


def brighter(picture: Pillow.Image, by: float) -> Pillow.Image:
    return ImageEnhance.Brightness(picture).enhance(by)


def cropped(picture: Pillow.Image, pixels: int) -> Pillow.Image:
    return picture.crop((pixels, pixels, picture.width - pixels, picture.height - pixels))


def saved(picture: Pillow.Image, kind: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


class Dataset:
    """A project whose corrections are added picture by picture."""

    def __init__(self, session: Session, home: Home) -> None:
        self.session, self.home = session, home
        self.project = new_project(session, 1)
        self.count = 0

    def add(self, picture: bytes) -> str:
        image = corrections.write_image(self.home, picture, limits=ImageLimits())
        corrections.register_image(self.session, image)
        self.count += 1
        added = record(annotation_id=self.count, task_id=self.count, image_sha256=image.sha256)
        corrections.upsert(self.session, self.project, added)
        return image.sha256

    def settle(self) -> None:
        while near_duplicates.settle(self.session, self.home):
            pass

    def held_out(self) -> set[str]:
        return set(corrections.snapshot(self.session, self.project, self.home).split().held_out)

    def groups(self) -> list[tuple[str, ...]]:
        return near_duplicates.near_duplicates(self.session, self.project)


@pytest.fixture
def dataset(database: Database, home: Home) -> Iterator[Dataset]:
    with database.session() as session:
        yield Dataset(session, home)


@pytest.mark.parametrize(
    "copy",
    [
        lambda picture: Pillow.open(io.BytesIO(saved(picture, "JPEG", quality=60))),
        lambda picture: picture.resize((SIZE // 2, SIZE // 2)),
        lambda picture: picture.resize((SIZE * 2, SIZE * 2)),
        lambda picture: brighter(picture, 1.08),
        lambda picture: brighter(picture, 0.75),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.8),
        lambda picture: cropped(picture, 2),
    ],
    ids=["jpeg", "half", "double", "brighter", "darker", "contrast", "cropped"],
)
def test_a_copy_is_like_its_picture(copy) -> None:  # type: ignore[no-untyped-def]
    alike = [are_alike(fingerprint(scene(number)), fingerprint(copy(scene(number)))) for number in range(20)]
    assert alike == [True] * 20


def test_different_scenes_are_not_alike() -> None:
    fingerprints = [fingerprint(scene(number)) for number in range(60)]
    pairs = [(one, other) for one in range(60) for other in range(one)]
    assert [pair for pair in pairs if are_alike(fingerprints[pair[0]], fingerprints[pair[1]])] == []


def test_pictures_of_one_colour_are_not_alike() -> None:
    red, other = (fingerprint(Pillow.new("RGB", (30, 30), colour)) for colour in ("#ff0000", "#fe0000"))
    assert not are_alike(red, other)
    assert not are_alike(red, red)


def test_a_copy_is_always_on_the_side_of_its_picture(dataset: Dataset) -> None:
    pairs = [
        (dataset.add(saved(scene(number))), dataset.add(saved(brighter(scene(number), 0.9)))) for number in range(30)
    ]
    held_out = dataset.held_out()
    assert 0 < len(held_out) < 60
    assert all((picture in held_out) == (copy in held_out) for picture, copy in pairs)
    assert dataset.groups() == pairs


def test_no_image_changes_its_side_when_copies_come_later(dataset: Dataset) -> None:
    pictures = {dataset.add(saved(scene(number))) for number in range(30)}
    before = dataset.held_out()
    for number in range(30):
        dataset.add(saved(brighter(scene(number), 0.9)))
    assert dataset.held_out() & pictures == before


def test_an_image_between_two_that_were_known_leaves_both_where_they_are(dataset: Dataset) -> None:
    """Cropped by 0, 6 and 3 pixels: the first two are too far apart, the third is near both."""
    first, second = dataset.add(saved(scene(4))), dataset.add(saved(cropped(scene(4), 6)))
    dataset.settle()
    assert dataset.groups() == []
    middle = dataset.add(saved(cropped(scene(4), 3)))
    dataset.settle()
    assert dataset.groups() in ([(first, middle)], [(second, middle)])


def test_the_order_of_arrival_decides_and_not_how_many_come_at_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "_AT_ONCE", 7)
    pairs = [
        (dataset.add(saved(scene(number))), dataset.add(saved(brighter(scene(number), 0.9)))) for number in range(10)
    ]
    dataset.settle()
    assert dataset.groups() == pairs


def test_images_from_before_keep_their_side_and_are_listed(dataset: Dataset) -> None:
    """As the migration leaves them: without a fingerprint, and each split on its own."""
    old = [dataset.add(saved(scene(number))) for number in range(10)]
    old += [dataset.add(saved(brighter(scene(number), 0.9))) for number in range(10)]
    dataset.session.flush()
    dataset.session.execute(update(Image).values(fingerprint=None, split_with=Image.sha256))
    new = dataset.add(saved(brighter(scene(0), 0.8)))

    examples = corrections.snapshot(dataset.session, dataset.project, dataset.home).examples

    assert [example.image for example in examples if example.split_with] == [new]
    assert examples[-1].split_with == old[0]
    assert dataset.groups()[0] == (old[0], old[10], new)


def test_an_image_that_is_gone_is_like_no_other(dataset: Dataset) -> None:
    gone = dataset.add(saved(scene(1)))
    dataset.session.execute(update(Image).values(fingerprint=None))
    dataset.home.image(gone).unlink()
    dataset.add(saved(brighter(scene(1), 0.9)))
    dataset.settle()
    assert dataset.groups() == []


def test_only_corrections_that_teach_are_listed(dataset: Dataset) -> None:
    dataset.add(saved(scene(1)))
    dataset.add(saved(brighter(scene(1), 0.9)))
    dataset.settle()
    dataset.session.execute(
        update(Correction).where(Correction.annotation_id == 2).values(state=CorrectionState.SKIPPED)
    )
    assert dataset.groups() == []


def test_a_snapshot_alone_says_how_it_is_split(dataset: Dataset) -> None:
    for number in range(10):
        dataset.add(saved(scene(number)))
        dataset.add(saved(brighter(scene(number), 0.9)))
    made = corrections.snapshot(dataset.session, dataset.project, dataset.home)
    assert read_snapshot(made.path) == made
    assert read_snapshot(made.path).split() == made.split()
    assert len(made.split_with) == 10
