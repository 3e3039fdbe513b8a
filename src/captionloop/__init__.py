"""Captionloop: BLIP captions in Label Studio that get better with every correction.

The code lives in the repository's top folders, which are importable as `captionloop.model` (BLIP and what it is
made of), `captionloop.jobs` (work that runs later and elsewhere) and `captionloop.backend` (what talks to people and
to Label Studio). `docs/design.md` says who may import whom, and why.
"""

import os
from importlib.metadata import version

# Backend and worker often share the cores of one machine. Threads that wait for each other by spinning, as OpenMP's do
# unless this is set before PyTorch is loaded, then take the cores from the very threads that they wait for: a step of
# training beside another process took fifty times as long (`python -m benchmarks.waiting`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = version("captionloop")
