"""What both sides of the comparison share, and what there is to compare. Light, as the help shows some of it."""

from collections.abc import Mapping

STARTER, GPU, GPU_LARGE = "starter_", "gpu_", "gpu_large_"

PARTS: Mapping[str, tuple[str, ...]] = {
    "": ("latency", "bulk", "recaption", "train_decoder", "train_full", "serve"),
    STARTER: ("latency", "bulk"),
    GPU: ("latency", "bulk", "train_full"),
    GPU_LARGE: ("bulk",),
}
"""What is compared, by what its key begins with: BLIP-base on the processor, the starter model there, BLIP-base and
BLIP-large on a GPU."""
KEYS = tuple(prefix + part for prefix, parts in PARTS.items() for part in parts)

BEAMS, SHORTEST, LONGEST = 3, 5, 20
BATCH, GPU_BATCH = 16, 64  # pictures captioned at once, where there are many
TRAINING_BATCH, GPU_TRAINING_BATCH = 16, 64
PLAIN_TRAINING_BATCH = 4  # more examples at once take the plain way longer for each; on a GPU it finds its best itself
CLIENTS = 8
PICTURES = 256  # distinct ones
# Captioned by us before the other side is asked again, which takes a batch or a few. On a GPU each is seen several
# times, so that a turn takes seconds: its use is read a few times in each.
PER_TURN, GPU_PER_TURN = 64, 4096
GPU_STEPS = 10  # of training in a turn
SHARE_OF_GPU = 0.5  # of its memory for each side, as both are there at once
TRAINING_TOKENS = 12  # of the caption that is trained on


def part_of(key: str) -> str:
    """A key without what it begins with."""
    return next(part for prefix, parts in PARTS.items() for part in parts if prefix + part == key)
