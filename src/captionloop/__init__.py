"""Captionloop: BLIP captions in Label Studio that get better with every correction; and fine-tuning BLIP from Python.

    import captionloop as cl
    data = cl.load_dataset("photos/")
    better = cl.finetune(cl.load_model("Salesforce/blip-image-captioning-base"), data)

docs/python.md has the whole of it. The code is in the repository's top-level folders, importable as `captionloop.model`
(BLIP, training, dataset, versions), `captionloop.jobs` (background work) and `captionloop.backend` (HTTP, Label Studio,
command line). `docs/design.md` has the import directions.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from captionloop.package_version import __version__

if TYPE_CHECKING:
    from captionloop.backend.python.exports import (
        Caption,
        Comparison,
        Dataset,
        Evaluation,
        Item,
        Model,
        Problem,
        Sample,
        Samples,
        Word,
        compare,
        evaluate,
        finetune,
        load_dataset,
        load_model,
    )

__all__ = [
    "Caption", "Comparison", "Dataset", "Evaluation", "Item", "Model", "Problem", "Sample", "Samples", "Word",
    "__version__", "compare", "evaluate", "finetune", "load_dataset", "load_model",
]  # fmt: skip

# Backend and worker often share the cores of one machine. OpenMP's threads spin while waiting, unless this is set
# before PyTorch is loaded, and so block the threads that they wait for: a training step beside another process took
# fifty times as long (`python -m benchmarks.waiting`).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    """An export, imported when it is first used: PyTorch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("captionloop.backend.python.exports"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
