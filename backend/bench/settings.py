"""Common settings of both sides, and the list of parts. Fast to import, as the command's help uses it."""

from collections.abc import Mapping

STARTER, GPU, GPU_LARGE = "starter_", "gpu_", "gpu_large_"

PARTS: Mapping[str, tuple[str, ...]] = {
    "": ("latency", "bulk", "recaption", "train_decoder", "train_full", "serve"),
    STARTER: ("latency", "bulk"),
    GPU: ("latency", "bulk", "train_full"),
    GPU_LARGE: ("bulk",),
}
"""The parts, by the prefix of their keys: BLIP-base on the CPU, the starter model on the CPU, BLIP-base and BLIP-large
on a GPU."""
KEYS = tuple(prefix + part for prefix, parts in PARTS.items() for part in parts)

BEAMS, SHORTEST, LONGEST = 3, 5, 20
BATCH, GPU_BATCH = 16, 64  # pictures captioned at once, where there are many
TRAINING_BATCH, GPU_TRAINING_BATCH = 16, 64
PLAIN_TRAINING_BATCH = 4  # larger batches slow down plain training on a CPU; on a GPU the best size is searched
CLIENTS = 8
PICTURES = 256  # distinct ones
# Pictures per turn of ours; a turn of the baseline is a batch or a few. On a GPU each is captioned several times, so
# that a turn takes seconds and its utilisation can be sampled.
PER_TURN, GPU_PER_TURN = 64, 4096
GPU_STEPS = 10  # of training in a turn
SHARE_OF_GPU = 0.5  # of its memory for each side, since both are loaded at once
TRAINING_TOKENS = 12  # of the caption that is trained on


def part_of(key: str) -> str:
    """A key without its prefix."""
    return next(part for prefix, parts in PARTS.items() for part in parts if prefix + part == key)
