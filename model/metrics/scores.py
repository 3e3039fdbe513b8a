"""Caption metrics: BLEU, ROUGE-L, CIDEr-D, METEOR, word edits, exact match, distinct-n.

The first four are those of `pycocoevalcap`, as papers report them; its "CIDEr" is CIDEr-D (clipped, with a length
penalty). They score our own tokens (`caption_tokens`).
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from rapidfuzz.distance import LCSseq

from captionloop.errors import SettingsError
from captionloop.model.captions.scripts import is_written_without_spaces
from captionloop.model.metrics.caption_tokens import caption_tokens
from captionloop.model.metrics.word_changes import word_edits, words_of

BLEU_ORDER = 4
_ROUGE_BETA = 1.2  # how much more recall weighs than precision

CIDER_D_CANNOT_TELL = (
    "CIDEr-D is 0 whatever the captions say: it weighs words by how few of the images have them in a reference, and "
    "here all images have all words, as a single image does."
)
COUNTED_BY_CHARACTER = (
    "In scripts without spaces (Chinese, Japanese, Thai and others) each character counts as a word, as with "
    "sacrebleu's zh and char; in other scripts words are split as usual (PTB)."
)


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Scores of one image. `word_edits` is the edit distance in words to the reference with the lowest rate."""

    bleu_1: float
    bleu_2: float
    bleu_3: float
    bleu_4: float
    rouge_l: float
    cider_d: float
    exact_match: bool
    word_edits: int
    reference_words: int
    meteor: float | None = None

    @property
    def word_edit_rate(self) -> float:
        """Edits per word of that reference; above 1 when the caption is much too long."""
        return self.word_edits / max(self.reference_words, 1)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a set of captions; `per_image` in the order of the captions.

    BLEU, ROUGE-L, METEOR, exact match and distinct-n are in 0–1, CIDEr-D in 0–10. `word_edit_rate` is the sum of edits
    over the sum of reference words. `caption_words` is the mean length in tokens. `distinct_n` is the share of unique
    n-grams: low when captions hardly depend on the picture. `cider_d_can_tell` is False if CIDEr-D is 0 for any
    captions whatever. `counting` says how words are counted where that is not as usual.
    """

    bleu_1: float
    bleu_2: float
    bleu_3: float
    bleu_4: float
    rouge_l: float
    cider_d: float
    exact_match: float
    word_edit_rate: float
    caption_words: float
    distinct_1: float
    distinct_2: float
    images: int
    per_image: Mapping[str, ImageScores]
    meteor: float | None = None
    cider_d_can_tell: bool = True
    counting: Sequence[str] = ()

    @property
    def notes(self) -> list[str]:
        """Caveats about the figures, as sentences."""
        return [*([] if self.cider_d_can_tell else [CIDER_D_CANNOT_TELL]), *self.counting]

    def to_dict(self) -> dict[str, float | int]:
        """The corpus metrics as plain data; METEOR only if requested."""
        fields = asdict(self)
        del fields["per_image"], fields["cider_d_can_tell"], fields["counting"]
        return {name: value for name, value in fields.items() if value is not None}


def evaluate_captions(
    references: Mapping[str, Sequence[str]],
    captions: Mapping[str, str],
    *,
    corpus: Iterable[Sequence[str]] = (),
    meteor: bool = False,
) -> Evaluation:
    """Score one caption per image against its references.

    Args:
        references: image id → at least one human caption.
        captions: the same image ids → the caption to score.
        corpus: references of further images (each a sequence of captions) for CIDEr-D's document frequencies, which a
            handful of images cannot estimate. Empty for the published definition.
        meteor: also compute METEOR, which needs Java.

    Raises:
        SettingsError: different image ids, an image without references, no captions, or no Java for METEOR.
    """
    _check_ids(references, captions)
    tokens = Tokens.of(references, captions, corpus=corpus)
    edits = {image: _nearest(captions[image], references[image]) for image in captions}
    bleu, bleu_per_image = _bleu(tokens)
    rouge_per_image = [_rouge_l(tokens, image) for image in captions]
    cider_per_image, cider_can_tell = _cider_d(tokens)
    meteor_corpus, meteor_per_image = _meteor(tokens) if meteor else (None, [None] * len(captions))

    per_image = {
        image: ImageScores(
            **_named_bleu([of_order[index] for of_order in bleu_per_image]),
            rouge_l=rouge_per_image[index],
            cider_d=cider_per_image[index],
            exact_match=edits[image][0] == 0,
            word_edits=edits[image][0],
            reference_words=edits[image][1],
            meteor=meteor_per_image[index],
        )
        for index, image in enumerate(captions)
    }
    words = [caption.split() for (caption,) in tokens.captions.values()]
    return Evaluation(
        **_named_bleu(bleu),
        rouge_l=sum(rouge_per_image) / len(captions),
        cider_d=sum(cider_per_image) / len(captions),
        exact_match=sum(scores.exact_match for scores in per_image.values()) / len(captions),
        word_edit_rate=sum(count for count, _ in edits.values()) / max(sum(length for _, length in edits.values()), 1),
        caption_words=sum(map(len, words)) / len(captions),
        distinct_1=_distinct(words, 1),
        distinct_2=_distinct(words, 2),
        images=len(captions),
        per_image=per_image,
        meteor=meteor_corpus,
        cider_d_can_tell=cider_can_tell,
        counting=counting_notes(itertools.chain(captions.values(), *references.values())),
    )


def counting_notes(captions: Iterable[str]) -> list[str]:
    """What has to be known of how words are counted: by character, where a caption is in a script without spaces."""
    return [COUNTED_BY_CHARACTER] if any(map(is_written_without_spaces, captions)) else []


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token strings in the format of pycocoevalcap's scorers: image → list of strings, with one string per caption."""

    references: dict[str, list[str]]
    captions: dict[str, list[str]]
    corpus: list[list[str]]

    @classmethod
    def of(
        cls,
        references: Mapping[str, Sequence[str]],
        captions: Mapping[str, str],
        *,
        corpus: Iterable[Sequence[str]] = (),
    ) -> Tokens:
        # References in their own order, since the tokenizer may look ahead into the next line.
        tokenized = caption_tokens(references)
        return cls(
            references={image: tokenized[image] for image in captions},
            captions=caption_tokens({image: [caption] for image, caption in captions.items()}),
            corpus=list(caption_tokens({str(index): texts for index, texts in enumerate(corpus)}).values()),
        )


def _check_ids(references: Mapping[str, Sequence[str]], captions: Mapping[str, str]) -> None:
    problems = {
        "no caption for": [image for image in references if image not in captions],
        "no reference for": [image for image in captions if not references.get(image)],
    }
    found = [f"{problem} {_some(images)}" for problem, images in problems.items() if images]
    if found:
        raise SettingsError(f"References and captions must name the same images: {'; '.join(found)}.")
    if not captions:
        raise SettingsError("There is no caption to score.")


def _some(images: Sequence[str], most: int = 5) -> str:
    named = ", ".join(images[:most])
    return named if len(images) <= most else f"{named} and {len(images) - most} more"


def _bleu(tokens: Tokens) -> tuple[list[float], list[list[float]]]:
    """BLEU-1 to -4 of the corpus, and per order a list by image."""
    corpus, per_image = _bleu_scorer(tokens).compute_score(option="closest")
    return list(map(float, corpus)), per_image


def _named_bleu(orders: Sequence[float]) -> dict[str, Any]:
    return {f"bleu_{order}": score for order, score in enumerate(orders, start=1)}


def _bleu_scorer(tokens: Tokens) -> BleuScorer:
    scorer = BleuScorer(n=BLEU_ORDER)
    for image, (caption,) in tokens.captions.items():
        scorer += (caption, tokens.references[image])
    return scorer


def bleu_counts(tokens: Tokens) -> np.ndarray:
    """BLEU's counts per image, (images, 10): matching n-grams, n-grams (both 1 to 4), length, reference length.

    The sum of rows gives the counts of a set of images, and `bleu_from_counts` the BLEU of that set.
    """
    rows = []
    for image in _bleu_scorer(tokens).ctest:
        closest = min((abs(length - image["testlen"]), length) for length in image["reflen"])[1]
        rows.append([*image["correct"], *image["guess"], image["testlen"], closest])
    return np.asarray(rows, dtype=float)


def bleu_from_counts(counts: np.ndarray) -> np.ndarray:
    """BLEU-1 to -4 of sets of images from their summed counts, (sets, 10) → (sets, 4).

    With pycocoevalcap's guards against zero (1e-15 in the numerator, 1e-9 in the denominator).
    """
    precisions = (counts[:, :BLEU_ORDER] + 1e-15) / (counts[:, BLEU_ORDER : 2 * BLEU_ORDER] + 1e-9)
    ratio = (counts[:, -2] + 1e-15) / (counts[:, -1] + 1e-9)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.cumprod(precisions, axis=1) ** (1 / np.arange(1, BLEU_ORDER + 1)) * brevity[:, np.newaxis]


def bleu_4_from_counts(counts: np.ndarray) -> np.ndarray:
    """BLEU-4 alone, (sets, 10) → (sets,)."""
    return bleu_from_counts(counts)[:, BLEU_ORDER - 1]


def _rouge_l(tokens: Tokens, image: str) -> float:
    """As pycocoevalcap computes it (best precision and best recall of the references), whose own LCS is a table."""
    caption = tokens.captions[image][0].split(" ")
    references = [reference.split(" ") for reference in tokens.references[image]]
    in_common = [LCSseq.similarity(caption, reference) for reference in references]
    precision = max(in_common) / len(caption)
    recall = max(common / len(reference) for common, reference in zip(in_common, references, strict=True))
    weight = _ROUGE_BETA**2
    return (1 + weight) * precision * recall / (recall + weight * precision) if precision and recall else 0.0


def _cider_d(tokens: Tokens) -> tuple[list[float], bool]:
    """CIDEr-D of each caption, and whether it can be above 0: n-grams that all images have weigh log(1) = 0."""
    scorer = CiderScorer(n=4, sigma=6.0)
    for image, (caption,) in tokens.captions.items():
        scorer += (caption, tokens.references[image])
    # Document frequencies come from all images in the scorer: the corpus goes in without captions of its own.
    for texts in tokens.corpus:
        scorer += ("", texts)
    if not any(ngrams for image in scorer.crefs for ngrams in image):
        return [0.0] * len(tokens.captions), True  # references of punctuation alone, on which the scorer fails
    _, per_image = scorer.compute_score()
    can_tell = any(count < len(scorer.crefs) for count in scorer.document_frequency.values())
    return [float(score) for score in per_image[: len(tokens.captions)]], can_tell


def _meteor(tokens: Tokens) -> tuple[float, list[float]]:
    if shutil.which("java") is None:
        raise SettingsError(
            "METEOR is computed by a Java program and no java is on the PATH; install one or leave it out."
        )
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        corpus, per_image = scorer.compute_score(tokens.references, tokens.captions)
    finally:
        scorer.meteor_p.stdout.close()  # its own destructor closes the other end only
        scorer.meteor_p.stderr.close()
    return float(corpus), per_image


def _nearest(caption: str, references: Sequence[str]) -> tuple[int, int]:
    """Edits to the reference with the lowest edit rate, and its number of words."""
    distances = [(word_edits(caption, reference), len(words_of(reference))) for reference in references]
    return min(distances, key=lambda distance: (distance[0] / max(distance[1], 1), distance[1]))


def _distinct(captions: Sequence[Sequence[str]], order: int) -> float:
    ngrams = [tuple(words[start : start + order]) for words in captions for start in range(len(words) - order + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0
