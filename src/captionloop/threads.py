"""How PyTorch's threads wait: settings of GNU OpenMP, which reads them from the environment when loaded."""

import os

# Spins before a thread sleeps. With this many, a caption's p95 beside training, which has the lowest priority, stays
# below twice the p95 alone; with three times as many it does not (docs/performance.md).
BRIEF_SPINS = "3000"


def wait_briefly_before_sleeping() -> None:
    """For interactive processes: call it before PyTorch is imported. The environment takes precedence.

    A caption takes hundreds of small parallel steps, and waking a thread for each costs more than the step. See also
    `captionloop/__init__.py`, which turns spinning off for all processes.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", BRIEF_SPINS)
