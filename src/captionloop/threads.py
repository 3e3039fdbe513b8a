"""How PyTorch's threads wait for each other, by GNU's OpenMP, which reads it from the environment when it is loaded."""

import os

# Spins before a thread sleeps. Beside training, which has the lowest priority, this many leave a caption's p95 below
# twice of before; three times as many do not (docs/performance.md).
BRIEF_SPINS = "3000"


def wait_briefly_before_sleeping() -> None:
    """For a process that people wait for: call it before PyTorch is imported. What the environment says counts more.

    A caption takes hundreds of small parallel steps, and waking a thread for each costs more than the step. See also
    `captionloop/__init__.py`, where all processes are told not to spin.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", BRIEF_SPINS)
