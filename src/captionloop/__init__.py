"""Captionloop: BLIP captions in Label Studio that get better with every correction.

The code lives in the repository's top folders, which are importable as `captionloop.model` (BLIP and what it is
made of), `captionloop.jobs` (work that runs later and elsewhere) and `captionloop.backend` (what talks to people and
to Label Studio). `docs/design.md` says who may import whom, and why.
"""

from importlib.metadata import version

__version__ = version("captionloop")
