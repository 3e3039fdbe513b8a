"""Caption metrics as the field reports them: `evaluate_captions` (BLEU, ROUGE-L, CIDEr-D, …) and its tokeniser."""

from captionloop.model.metrics.comparison import Comparison, Score, bootstrap_score, compare_captions
from captionloop.model.metrics.differences import Difference, Differences, compare_figures
from captionloop.model.metrics.scores import Evaluation, ImageScores, evaluate_captions
from captionloop.model.metrics.tokenizer import tokenize, tokenize_line

__all__ = [
    "Comparison",
    "Difference",
    "Differences",
    "Evaluation",
    "ImageScores",
    "Score",
    "bootstrap_score",
    "compare_captions",
    "compare_figures",
    "evaluate_captions",
    "tokenize",
    "tokenize_line",
]
