"""Caption metrics (BLEU, ROUGE-L, CIDEr-D, …), and comparisons with bootstrap intervals."""

from captionloop.model.captions.ptb_tokens import tokenize, tokenize_line
from captionloop.model.metrics.caption_tokens import caption_tokens
from captionloop.model.metrics.comparison import Comparison, Score, bootstrap_score, compare_captions
from captionloop.model.metrics.consensus import DocumentFrequencies, consensus_cider_d
from captionloop.model.metrics.differences import Difference, Differences, compare_figures
from captionloop.model.metrics.scores import Evaluation, ImageScores, evaluate_captions

__all__ = [
    "Comparison",
    "Difference",
    "Differences",
    "DocumentFrequencies",
    "Evaluation",
    "ImageScores",
    "Score",
    "bootstrap_score",
    "caption_tokens",
    "compare_captions",
    "compare_figures",
    "consensus_cider_d",
    "evaluate_captions",
    "tokenize",
    "tokenize_line",
]
