"""The baseline: BLIP as people use it, plain `transformers` in fp32 without any of our code.

`python -m captionloop.backend.bench.plain caption|train MODEL PICTURES` takes turns, `… serve MODEL PORT` serves. A GPU
is used well: in bf16 if supported, with fused AdamW, threads that read pictures, and the fastest batch size within half
of its memory.
"""

from __future__ import annotations

import base64
import io
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from captionloop.backend.bench.material import CAPTION, jpeg, read_pictures
from captionloop.backend.bench.settings import (
    BATCH,
    BEAMS,
    GPU_STEPS,
    LONGEST,
    PLAIN_TRAINING_BATCH,
    SHARE_OF_GPU,
    SHORTEST,
)
from captionloop.backend.bench.turns import take_turns
from captionloop.device import chosen_device, computes_in_bf16, is_gpu, limit_memory
from captionloop.settings import Settings

_SMALLEST, _WORTH_MORE, _TRIES = 8, 1.03, 3
_GPU_BATCHES = 8


class Plain:
    def __init__(self, directory: str) -> None:
        self.device = chosen_device(Settings.read().device)
        self.on_gpu = is_gpu(self.device)
        limit_memory(self.device, SHARE_OF_GPU)
        dtype = torch.bfloat16 if self.on_gpu and computes_in_bf16(self.device) else torch.float32
        self.processor = BlipImageProcessorPil.from_pretrained(directory)
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = BlipForConditionalGeneration.from_pretrained(directory, dtype=dtype).to(self.device)

    def pixels(self, pictures: Sequence[bytes]) -> torch.Tensor:
        """What the image processor makes of JPEG files: float (pictures, 3, side, side), on the device."""

        def pixels_of(some: Sequence[bytes]) -> torch.Tensor:
            images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in some]
            pixels: torch.Tensor = self.processor(images, return_tensors="pt")["pixel_values"]
            return pixels

        if not self.on_gpu:
            return pixels_of(pictures)
        with ThreadPoolExecutor(torch.get_num_threads()) as readers:
            pixels = torch.cat(list(readers.map(lambda picture: pixels_of([picture]), pictures)))
        return pixels.to(self.device, self.model.dtype)

    def caption(self, pictures: Sequence[bytes]) -> list[str]:
        self.model.eval()
        written = self.model.generate(
            pixel_values=self.pixels(pictures), num_beams=BEAMS, min_length=SHORTEST, max_length=LONGEST
        )
        captions: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return captions


def captioning(plain: Plain, pictures: Sequence[bytes]) -> dict[str, Callable[[], int]]:
    """A turn is one picture or one batch; on a GPU several batches."""
    coming = cycle(pictures)

    def caption(amount: int) -> int:
        return len(plain.caption(list(islice(coming, amount))))

    caption(1)
    batch, batches = (quickest_batch(caption), _GPU_BATCHES) if plain.on_gpu else (BATCH, 1)
    return {"latency": lambda: caption(1), "bulk": lambda: sum(caption(batch) for _ in range(batches))}


def training(plain: Plain, pictures: Sequence[bytes]) -> Callable[[], int]:
    """Full fine-tuning as in Hugging Face's notebook."""
    optimizer = torch.optim.AdamW(plain.model.parameters(), lr=1e-5, fused=plain.on_gpu)
    coming = cycle(pictures)

    def step(batch: int) -> int:
        plain.model.train()
        pixels = plain.pixels(list(islice(coming, batch)))
        text = plain.tokenizer([CAPTION] * batch, return_tensors="pt").to(plain.device)
        loss = plain.model(
            pixel_values=pixels,
            input_ids=text["input_ids"],
            attention_mask=text["attention_mask"],
            labels=text["input_ids"],
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # somebody watches it; on a GPU the step is over only then
        return batch

    step(PLAIN_TRAINING_BATCH)
    if not plain.on_gpu:
        return lambda: step(PLAIN_TRAINING_BATCH)
    batch = quickest_batch(step)
    return lambda: sum(step(batch) for _ in range(GPU_STEPS))


def quickest_batch(work: Callable[[int], object]) -> int:
    """The batch size with the highest throughput of 8, 16, 32, …, tried while it increases.

    Args:
        work: processes a batch of this size; it may run out of memory.
    """
    batch, best_rate = _SMALLEST, 0.0
    while True:
        try:
            work(batch)  # warm-up: kernels are chosen at the first use of each size
            rate = batch / min(_seconds(work, batch) for _ in range(_TRIES))
        except torch.OutOfMemoryError:
            return batch // 2
        if rate < best_rate * _WORTH_MORE:
            return batch // 2
        best_rate = rate
        batch *= 2


def _seconds(work: Callable[[int], object], batch: int) -> float:
    begun = time.perf_counter()
    work(batch)
    return time.perf_counter() - begun


def serving(plain: Plain, port: int) -> None:
    """As Label Studio's own example of a BLIP backend: one request, one generation, under a lock."""
    from flask import Flask, request

    app, lock = Flask(__name__), threading.Lock()

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        (task,) = request.get_json()["tasks"]
        picture = base64.b64decode(task["data"]["image"].partition(",")[2])
        with lock:
            (caption,) = plain.caption([picture])
        return {"results": [{"result": [{"type": "textarea", "value": {"text": [caption]}}]}]}

    plain.caption([jpeg(seed=1, number=0)])

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {}

    app.run(host="127.0.0.1", port=port, threaded=True)


def main(arguments: Sequence[str]) -> None:
    part, directory, given = arguments
    plain = Plain(directory)
    if part == "serve":
        serving(plain, int(given))
    elif part == "train":
        take_turns({"train": training(plain, read_pictures(Path(given)))})
    else:
        take_turns(captioning(plain, read_pictures(Path(given))))


if __name__ == "__main__":
    main(sys.argv[1:])
