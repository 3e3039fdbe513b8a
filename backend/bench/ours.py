"""Our side of the comparison: `python -m captionloop.backend.bench.ours caption|decoder|full MODEL PICTURES`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from PIL import Image

from captionloop.backend.bench.material import CAPTION, read_pictures
from captionloop.backend.bench.settings import (
    BATCH,
    BEAMS,
    GPU_BATCH,
    GPU_PER_TURN,
    GPU_STEPS,
    GPU_TRAINING_BATCH,
    LONGEST,
    PER_TURN,
    SHARE_OF_GPU,
    SHORTEST,
    TRAINING_BATCH,
)
from captionloop.backend.bench.turns import say, take_turns
from captionloop.batches import batches
from captionloop.device import chosen_device, is_gpu, limit_memory, wait_for
from captionloop.errors import RunCancelled
from captionloop.memory import keep_freed_memory
from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.captions.example import Example
from captionloop.model.dataset.images import content_hash, open_image
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings
from captionloop.settings import Settings

if TYPE_CHECKING:
    from captionloop.model.training.log import StepFigures, TrainingLog
    from captionloop.model.training.settings import Way

T = TypeVar("T")

_ENDLESS = 1_000_000  # steps; the parent process ends it
_WARM_STEPS = 2


def captioning(captioner: Captioner, pictures: Sequence[bytes]) -> None:
    """Captioning as in a captioning run, with prefetching.

    A turn of `bulk` has unseen pictures, `recaption` the same again. On a GPU there are not enough pictures, so no
    features are cached.
    """
    on_gpu = is_gpu(captioner.device)
    never_seen, endless = batches(pictures, PER_TURN), cycle(pictures)
    last: list[bytes] = []

    def read(file: bytes) -> tuple[str, Image.Image]:
        return content_hash(file), captioner.shrink(open_image(file))

    def caption(files: Iterable[bytes]) -> int:
        done = 0
        with ThreadPoolExecutor(torch.get_num_threads()) as readers:
            for part in batches(_ahead(readers, read, files, by=2 * GPU_BATCH), GPU_BATCH if on_gpu else BATCH):
                hashes, images = zip(*part, strict=True)
                done += len(captioner.caption(images, image_hashes=None if on_gpu else hashes, batch_size=len(part)))
        return done

    def latency() -> int:
        return len(captioner.caption([open_image(next(endless))]))  # without a hash, so that the cache is not used

    def bulk() -> int:
        if on_gpu:
            return caption(islice(endless, GPU_PER_TURN))
        last[:] = next(never_seen)
        return caption(last)

    some = [open_image(file) for file in pictures[:BATCH]]
    written = captioner.beams(captioner.encode(some))
    tokens = sum(len(beams[0].log_probabilities) for beams in written) / len(some)
    take_turns({"latency": latency, "bulk": bulk, "recaption": lambda: caption(last)}, facts={"tokens": tokens})


def _ahead(readers: ThreadPoolExecutor, read: Callable[[bytes], T], files: Iterable[bytes], *, by: int) -> Iterator[T]:
    """Prefetch files in order, at most `by` ahead."""
    coming = iter(files)
    waiting = deque(readers.submit(read, file) for file in islice(coming, by))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(readers.submit(read, file) for file in islice(coming, 1))


def training(directory: str, pictures: Sequence[bytes], way: Way, device: torch.device) -> None:
    """Fine-tuning; a turn is some steps. From the second epoch on a frozen encoder is not run."""
    checkpoint = load_checkpoint(directory, device=device)
    on_gpu = is_gpu(device)
    batch = GPU_TRAINING_BATCH if on_gpu else TRAINING_BATCH
    files = {content_hash(file): file for file in pictures}
    examples = [Example(number, name, CAPTION) for number, name in enumerate(files, start=1)]
    settings = FinetuneSettings(way=way, steps=_ENDLESS, batch_size=batch, learning_rate=1e-5)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as cached:
        features = FeatureCache(Path(cached), max_bytes=10**10)
        encoder = "0" * 64
        vision = checkpoint.model.config.vision_config
        shape = ((vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden_size)
        features.put_many({name: torch.randn(shape).bfloat16() for name in files}, encoder)

        def of(hashes: Sequence[str]) -> torch.Tensor:
            found = features.get_many(hashes, encoder)
            return torch.stack([found[name] for name in hashes])

        turns = _Turns(batch, steps=GPU_STEPS if on_gpu else 1, device=device)
        with suppress(RunCancelled):  # by ourselves
            finetune(
                checkpoint,
                examples,
                settings=settings,
                features=of,
                pictures=lambda name: open_image(files[name]),
                log=cast("TrainingLog", turns),
                should_stop=lambda: turns.are_over,
            )


class _Turns:
    """A training log that counts steps: after the warm-up, a fixed number of steps is a turn."""

    def __init__(self, batch: int, *, steps: int, device: torch.device) -> None:
        self.are_over = False
        self._device = device
        self._batch, self._in_turn = batch, steps
        self._steps = 0
        self._begun = 0.0

    def begin(self, *_: object) -> None:
        pass

    def step(self, _: StepFigures) -> None:
        """Count a step; at the end of a turn say how long it took, and wait for the next line."""
        self._steps += 1
        if self._steps < _WARM_STEPS or (self._steps - _WARM_STEPS) % self._in_turn:
            return
        wait_for(self._device)  # for the optimizer's part of the step, too
        if self._steps == _WARM_STEPS:
            say({})
        else:
            say({"amount": self._batch * self._in_turn, "seconds": time.perf_counter() - self._begun})
        self.are_over = not sys.stdin.readline()
        self._begun = time.perf_counter()


def main(arguments: Sequence[str]) -> None:
    """Measure the part that the arguments name, a turn for each line on stdin."""
    part, directory, given = arguments
    device = chosen_device(Settings.read().device)
    limit_memory(device, SHARE_OF_GPU)
    pictures = read_pictures(Path(given))
    if part in {"decoder", "full"}:
        training(directory, pictures, cast("Way", part), device)
        return
    generation = GenerationSettings(num_beams=BEAMS, min_length=SHORTEST, max_length=LONGEST)
    with tempfile.TemporaryDirectory() as cached:
        features = FeatureCache(Path(cached), max_bytes=10**10)
        captioner = Captioner.load(
            directory, version="bench", generation=generation, device=device.type, features=features
        )
        captioning(captioner, pictures)


if __name__ == "__main__":
    main(sys.argv[1:])
