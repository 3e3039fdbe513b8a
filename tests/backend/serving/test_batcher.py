import threading
from collections.abc import Sequence

import pytest
from PIL import Image

from captionloop.backend.serving.batcher import Batcher, Retired
from captionloop.model.captioning.captioner import ScoredCaption

PICTURE = Image.new("RGB", (8, 8))


class Recorder:
    """Stands for a model, to count what it is given; what a model writes is not what these tests are about."""

    version = "v1"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.fail = False

    def caption_by(
        self, writers: Sequence[object], images: Sequence[Image.Image], *, image_hashes: Sequence[str]
    ) -> list[list[ScoredCaption]]:
        self.may_go.wait()
        self.batches.append(len(images))
        if self.fail:
            raise RuntimeError("out of memory")
        return [[ScoredCaption(f"caption of {digest}", 0.5) for _ in writers] for digest in image_hashes]


@pytest.fixture
def model() -> Recorder:
    return Recorder()


def test_each_picture_gets_its_own_caption(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    with batcher.lease():
        answers = [batcher.submit(PICTURE, name) for name in "abc"]

    assert [answer.result()[0].caption for answer in answers] == ["caption of a", "caption of b", "caption of c"]


def test_pictures_that_come_while_a_batch_runs_are_captioned_together(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    model.may_go.clear()
    with batcher.lease():
        first = batcher.submit(PICTURE, "first")
        while not batcher._requests.empty():
            pass
        others = [batcher.submit(PICTURE, str(number)) for number in range(5)]
        model.may_go.set()
        for answer in (first, *others):
            answer.result()

    assert model.batches == [1, 5]


def test_a_picture_that_nobody_waits_for_any_more_is_not_captioned(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    model.may_go.clear()
    with batcher.lease():
        first = batcher.submit(PICTURE, "first")
        while not batcher._requests.empty():
            pass
        given_up, waited_for = batcher.submit(PICTURE, "second"), batcher.submit(PICTURE, "third")
        given_up.cancel()
        model.may_go.set()
        waited_for.result()

    assert first.result()[0].caption == "caption of first"
    assert model.batches == [1, 1]


def test_a_failure_reaches_whoever_asked_and_the_next_request_is_served(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    with batcher.lease():
        model.fail = True
        with pytest.raises(RuntimeError, match="out of memory"):
            batcher.submit(PICTURE, "a").result()
        model.fail = False

        assert batcher.submit(PICTURE, "b").result()[0].caption == "caption of b"


def test_a_retired_batcher_gives_no_new_lease(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    batcher.retire()

    with pytest.raises(Retired), batcher.lease():
        pass


def test_a_lease_outlives_the_retirement(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    with batcher.lease():
        batcher.retire()

        assert batcher.submit(PICTURE, "late").result()[0].caption == "caption of late"


def test_a_retired_batcher_stops_when_its_last_lease_ends(model: Recorder) -> None:
    batcher = Batcher(model)  # type: ignore[arg-type]
    with batcher.lease(), batcher.lease():
        batcher.retire()
    batcher.join()

    assert not batcher._thread.is_alive()
