"""Each of the bad images is a picture or is refused with a sentence, in little time and little memory."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.bad_images import bad_images, encoded

from captionloop.errors import ImageError
from captionloop.model.dataset import images
from captionloop.model.dataset.images import open_image

BAD_IMAGES = bad_images()
REPOSITORY = Path(__file__).parents[3]


def test_the_bad_images_are_200_or_more_and_the_same_each_time() -> None:
    assert len(BAD_IMAGES) >= 200
    assert bad_images() == BAD_IMAGES


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some of them, too
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_a_picture_or_is_refused_with_a_sentence(name: str) -> None:
    begun = time.process_time()

    try:
        image = open_image(BAD_IMAGES[name])
    except ImageError as error:
        said = str(error)
        assert said.startswith(("The ", "There is not enough memory"))
        assert said.endswith(".")
        assert "\n" not in said
    else:
        assert image.mode == "RGB"
        assert min(image.size) > 0
    assert time.process_time() - begun < 5


def test_opening_all_bad_images_needs_a_few_hundred_megabytes() -> None:
    """In a process of its own, as this one may have needed more for something else."""
    code = (
        "import warnings\n"
        "from contextlib import suppress\n"
        "from captionloop.errors import ImageError\n"
        "from captionloop.model.dataset.images import open_image\n"
        "from tests.support.bad_images import bad_images\n"
        "from tests.support.peak_memory import peak_bytes\n"
        "warnings.simplefilter('ignore')\n"
        "made = bad_images()\n"
        "before = peak_bytes()\n"
        "for data in made.values():\n"
        "    with suppress(ImageError):\n"
        "        open_image(data)\n"
        "print((peak_bytes() - before) // 2**20)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)

    # 99 megapixels, in the file's own form and as RGB, whose pixels Pillow keeps in four bytes each.
    assert int(ran.stdout) < 900


@pytest.mark.parametrize("mode", ["I;16", "F", "P", "LA", "CMYK"])
def test_a_picture_of_many_strips_looks_like_one_of_a_single_strip(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(40 * 30, dtype=np.uint16).reshape(30, 40)
    picture = {
        "I;16": Image.fromarray(values * 50),
        "F": Image.fromarray(values.astype(np.float32) - 300.0),
        "P": Image.fromarray((values % 256).astype(np.uint8)).convert("RGB").quantize(16),
    }.get(mode) or Image.fromarray((values % 256).astype(np.uint8)).convert(mode)
    data = encoded(picture, "TIFF")
    whole = open_image(data)

    monkeypatch.setattr(images, "_STRIP_PIXELS", 100)

    assert np.array_equal(np.asarray(open_image(data)), np.asarray(whole))


def test_a_progressive_photograph_is_no_bomb() -> None:
    picture = Image.effect_noise((200, 150), 60).convert("RGB")
    preview = encoded(picture.resize((40, 30)), "JPEG", progressive=True) * 40
    exif = Image.Exif()
    exif[0x927C] = preview[:60_000]  # a camera's own notes, with pictures in them
    data = encoded(picture, "JPEG", progressive=True, exif=exif)

    assert open_image(data).size == (200, 150)
    assert open_image(data + preview).size == (200, 150)  # with more pictures behind it, as telephones add them


def test_large_pictures_are_decoded_one_after_the_other() -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    memory = images._Memory(pixels=100)

    def decode(pixels: int) -> None:
        nonlocal at_once, most
        with memory.room_for(pixels):
            with lock:
                at_once += pixels
                most = max(most, at_once)
            time.sleep(0.01)
            with lock:
                at_once -= pixels

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (40, 90, 30, 100, 60, 10) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 < most <= 100


def test_a_picture_larger_than_all_room_is_decoded_alone() -> None:
    memory = images._Memory(pixels=100)

    with memory.room_for(250):
        pass
    with memory.room_for(250):
        pass
