"""What `captionloop` exports."""

from captionloop.backend.python.captions import Caption, Word
from captionloop.backend.python.datasets import Dataset, Item, Problem, load_dataset
from captionloop.backend.python.figures import Comparison, Evaluation, compare, evaluate
from captionloop.backend.python.finetuning import finetune
from captionloop.backend.python.models import Model, Sample, Samples, load_model

__all__ = [
    "Caption", "Comparison", "Dataset", "Evaluation", "Item", "Model", "Problem", "Sample", "Samples", "Word",
    "compare", "evaluate", "finetune", "load_dataset", "load_model",
]  # fmt: skip
