"""Captionloop: BLIP captions in Label Studio that get better with every correction.

The code is in the repository's top-level folders, importable as `captionloop.model` (BLIP, training, dataset,
versions), `captionloop.jobs` (background work) and `captionloop.backend` (HTTP, Label Studio, command line).
`docs/design.md` has the import directions.
"""

import os
from importlib.metadata import version

# Backend and worker often share the cores of one machine. OpenMP's threads spin while waiting, unless this is set
# before PyTorch is loaded, and so block the threads that they wait for: a training step beside another process took
# fifty times as long (`python -m benchmarks.waiting`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = version("captionloop")
