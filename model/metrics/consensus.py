"""How far the candidates for one picture's caption agree: consensus CIDEr-D.

Devlin et al. (arXiv 1505.04467, section 3.2) take, of several captions that a picture might have, the one with the
highest mean similarity to the others, with CIDEr for the similarity. That mean is what is computed here. There is no
reference by a person in it, so how common an n-gram is has to be known from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pycocoevalcap.cider.cider_scorer import CiderScorer, precook

from captionloop.model.captions.ptb_tokens import tokenize

MOST = 10.0  # CIDEr-D's own scale
_IMAGINARY = 2


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """What CIDEr-D knows of common words.

    Args:
        images: how many there are.
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
        tokens = tokenize({str(index): texts for index, texts in enumerate(captions)})
        found = Counter(ngram for texts in tokens.values() for ngram in {n for text in texts for n in precook(text)})
        return cls(len(tokens), found)


def consensus_cider_d(caption: str, others: Sequence[str], frequencies: DocumentFrequencies) -> float:
    """The mean CIDEr-D of a caption against each of the others, 0 to 10.

    An n-gram weighs log((images + 2) / its document frequency). CIDEr-D has no 2: it stands for two imaginary images
    without a caption, so that a word which all images have still weighs something, and that without any image all words
    weigh alike, where CIDEr-D would have no weights at all.

    Args:
        caption: in whose favour the others may speak.
        others: at least one.
        frequencies: of captions that people wrote.
    """
    tokens, *references = tokenize({"": [caption, *others]})[""]
    scorer = CiderScorer(n=4, sigma=6.0)
    scorer += (tokens, references)
    scorer.document_frequency.update(frequencies.of_ngrams)
    # It takes the number of images from here, and scores those that have a caption beside their references.
    scorer.crefs += [[]] * (frequencies.images + _IMAGINARY - 1)
    (score,) = scorer.compute_cider()
    return float(score)
