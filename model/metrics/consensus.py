"""Consensus CIDEr-D: the agreement of candidate captions of one picture.

Devlin et al. (arXiv 1505.04467, section 3.2) choose, of several candidate captions, the one with the highest mean CIDEr
against the others. That mean is computed here. It involves no human reference, so document frequencies must come from
elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pycocoevalcap.cider.cider_scorer import CiderScorer, precook

from captionloop.model.metrics.caption_tokens import caption_tokens

MOST = 10.0  # CIDEr-D's own scale
_IMAGINARY = 2


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """CIDEr-D's document frequencies.

    Args:
        images: their number.
        of_ngrams: n-gram of one to four tokens → how many images have it in one of their captions.
    """

    images: int
    of_ngrams: Mapping[tuple[str, ...], int]

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> DocumentFrequencies:
        """
        Args:
            captions: those of each image.
        """
        tokens = caption_tokens({str(index): texts for index, texts in enumerate(captions)})
        found = Counter(ngram for texts in tokens.values() for ngram in {n for text in texts for n in precook(text)})
        return cls(len(tokens), found)


def consensus_cider_d(caption: str, others: Sequence[str], frequencies: DocumentFrequencies) -> float:
    """The mean CIDEr-D of a caption against each of the others, 0 to 10.

    An n-gram weighs log((images + 2) / its document frequency). The published CIDEr-D has no 2: it keeps the weight of
    n-grams that all images have above 0, and weighs all alike if there are no images.

    Args:
        caption: the candidate.
        others: the other candidates, at least one.
        frequencies: of human captions.
    """
    tokens, *references = caption_tokens({"": [caption, *others]})[""]
    scorer = CiderScorer(n=4, sigma=6.0)
    scorer += (tokens, references)
    scorer.document_frequency.update(frequencies.of_ngrams)
    # It takes the number of images from here, and scores those that have a caption beside their references.
    scorer.crefs += [[]] * (frequencies.images + _IMAGINARY - 1)
    (score,) = scorer.compute_cider()
    return float(score)
