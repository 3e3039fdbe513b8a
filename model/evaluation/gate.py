"""The gate: a candidate becomes champion only if its captions of the held-out images are better.

Both caption the same images with the same generation settings; `judge` compares the captions with the references. Three
things go beyond the sign of a difference:

* CIDEr-D weights words by document frequency, which a dozen images cannot estimate: it is taken from all corrections
  (`corpus`);
* the words that a person would have to change count as well (see `metrics.comparison`);
* captions must depend on the picture. A candidate trained on shuffled captions, or on a single one, learns the house
  style perfectly, and so beats on every n-gram metric a champion that has never seen it. A permutation test finds that:
  if the captions fit randomly permuted images as well as their own, the candidate is rejected.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from captionloop.errors import RunError, SettingsError
from captionloop.model.evaluation import certainty
from captionloop.model.metrics import Comparison, Evaluation, caption_tokens, compare_captions

if TYPE_CHECKING:
    from captionloop.model.evaluation.forgetting import EarlierStyle

Rule = Literal["better", "surely better", "always", "never"]
RULES: tuple[Rule, ...] = get_args(Rule)

SURE = 0.95  # the probability that "surely better" requires
FEW_IMAGES = 5  # with fewer a verdict is little more than a guess
# Largest p-value of the permutation test. Five images have only 120 permutations, so few images cannot reach the
# significance of many.
_CHANCE, _CHANCE_OF_FEW, _MANY_IMAGES = 0.01, 0.05, 10
_DEALS = 2000
_FEW_FOR_PEOPLE = 30  # with fewer images a verdict that is not sure says "only"
_MOST_DEALT_EXACTLY = 6  # with up to so many images all (720) permutations are tried


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, its reason, and the metrics.

    Args:
        promote: whether the candidate should become champion.
        reason: one or two sentences for people.
        champion, candidate: their metrics on the held-out images.
        difference: candidate minus champion in CIDEr-D (0–10) + BLEU-4 (0–1).
        interval: its 95 % paired-bootstrap interval.
        probability: that the candidate is better, by the same bootstrap.
        too_close_to_call: the interval contains 0.
        follows_pictures: whether the candidate's captions fit their own images better than permuted ones; None if the
            held-out captions are too few, or too similar, to tell.
        earlier: how the two write in other styles (see `forgetting`).
    """

    promote: bool
    reason: str
    champion: Evaluation
    candidate: Evaluation
    difference: float
    interval: tuple[float, float]
    probability: float
    too_close_to_call: bool
    follows_pictures: bool | None
    earlier: tuple[EarlierStyle, ...] = ()

    @property
    def finding(self) -> str:
        """The reason without what was decided, for a model that nobody promotes."""
        text = self.reason.partition(": ")[2]
        return text[:1].upper() + text[1:]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a manifest; what became of other styles only if there are any."""
        earlier = {"earlier_styles": [style.to_dict() for style in self.earlier]} if self.earlier else {}
        return {
            "promote": self.promote,
            "reason": self.reason,
            "champion": self.champion.to_dict(),
            "candidate": self.candidate.to_dict(),
            "difference": self.difference,
            "interval": list(self.interval),
            "probability": self.probability,
            "too_close_to_call": self.too_close_to_call,
            "follows_pictures": self.follows_pictures,
            **earlier,
        }


def judge(
    references: Mapping[str, Sequence[str]],
    champion_captions: Mapping[str, str],
    candidate_captions: Mapping[str, str],
    *,
    corpus: Iterable[Sequence[str]] = (),
    rule: Rule = "better",
    seed: int = 0,
) -> Verdict:
    """Decide whether the candidate replaces the champion.

    Args:
        references: held-out image → human captions.
        champion_captions, candidate_captions: the same images → generated caption.
        corpus: human captions of the other images, a sequence for each.
        rule: "better": a positive difference; "surely better": with a probability of at least 0.95; "always": rejects
            only a candidate that ignores the pictures; "never": only people promote.
        seed: of the bootstrap and the permutation test.

    Raises:
        RunError: there is no held-out image.
        SettingsError: an unknown rule, or captions and references of different images.
    """
    if rule not in RULES:
        raise SettingsError(f"The gate's rule is {rule!r}; expected one of {', '.join(map(repr, RULES))}.")
    if not references:
        raise RunError("No image is held out, so nobody can say whether the candidate is better. Correct a few more.")
    comparison = compare_captions(references, champion_captions, candidate_captions, corpus=corpus, seed=seed)
    follows = _follows_pictures(references, candidate_captions, seed=seed)
    low, high = comparison.interval
    promote = follows is not False and _passes(comparison, rule)
    return Verdict(
        promote=promote,
        reason=_reason(comparison, rule, promote=promote, follows=follows),
        champion=comparison.first,
        candidate=comparison.second,
        difference=comparison.difference,
        interval=comparison.interval,
        probability=comparison.probability,
        too_close_to_call=low <= 0 <= high,
        follows_pictures=follows,
    )


def _passes(comparison: Comparison, rule: Rule) -> bool:
    if rule == "always":
        return True
    if rule == "never" or comparison.same_captions:
        return False
    if rule == "surely better":
        return comparison.evidence > 0 and comparison.probability >= SURE
    return comparison.evidence > 0 or _only_writes_better(comparison)


def _only_writes_better(comparison: Comparison) -> bool:
    """Whether words are equal but orthography, which the metrics ignore, matches the references more often."""
    before, after = comparison.letter_perfect
    return comparison.evidence == 0 and after > before


# --- do captions depend on the picture? ----------------------------------------------------------------------------


def _follows_pictures(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], *, seed: int
) -> bool | None:
    written = caption_tokens({image: [captions[image]] for image in references})
    wanted = caption_tokens(references)
    people = {image: texts[:1] for image, texts in wanted.items()}
    if len(set(captions.values())) == 1 and len({texts[0] for texts in people.values()}) > 2:
        return False
    limit = _CHANCE if len(references) >= _MANY_IMAGES else _CHANCE_OF_FEW
    if len(references) < FEW_IMAGES or _chance_of_fit(people, wanted, seed=seed) > limit:
        return None
    return _chance_of_fit(written, wanted, seed=seed) <= limit


def _chance_of_fit(captions: Mapping[str, list[str]], references: Mapping[str, list[str]], *, seed: int) -> float:
    """p-value of the permutation test: how often permuted captions fit the references as well as unpermuted ones."""
    fit = _fit(captions, references)
    images = np.arange(len(fit))
    own = fit[images, images].mean()
    if len(fit) <= _MOST_DEALT_EXACTLY:
        deals = list(itertools.permutations(images))
    else:
        rng = np.random.default_rng(seed)
        deals = [tuple(images), *(tuple(rng.permutation(len(fit))) for _ in range(_DEALS))]
    return float(np.mean([fit[images, list(deal)].mean() >= own - 1e-9 for deal in deals]))


def _fit(captions: Mapping[str, list[str]], references: Mapping[str, list[str]]) -> np.ndarray:
    """(images, images): cosine similarity of the tf-idf vectors of each caption and each image's references.

    Words of the style are in all references and weigh nothing, so that the words of the content remain.
    """
    words = {word: index for index, word in enumerate(sorted(_words_of(references)))}
    wanted, written = (
        np.asarray([_counts(_joined(texts), words) for texts in side.values()]) for side in (references, captions)
    )
    rarity = np.log(len(references) / np.maximum((wanted > 0).sum(axis=0), 1))
    return _unit(written * rarity) @ _unit(wanted * rarity).T


def _words_of(texts: Mapping[str, list[str]]) -> set[str]:
    return {word for image in texts.values() for text in image for word in text.split()}


def _joined(texts: Sequence[str]) -> list[str]:
    return " ".join(texts).split()


def _counts(text: Sequence[str], words: Mapping[str, int]) -> np.ndarray:
    counts = np.zeros(len(words))
    for word in text:
        if word in words:
            counts[words[word]] += 1
    return counts


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


# --- the reason as text --------------------------------------------------------------------------------------------


def _reason(comparison: Comparison, rule: Rule, *, promote: bool, follows: bool | None) -> str:
    images = comparison.second.images
    verdict = "Promoted" if promote else "Rejected"
    if follows is False:
        return (
            f"{verdict}: its captions do not follow the pictures; dealt out at random, they fit the {images} held-out "
            "images as well. Were captions and images mixed up, or is one caption repeated?"
        )
    if comparison.same_captions:
        text = f"{verdict}: it writes the same captions as the current version on {_held_out(images)}."
    elif _only_writes_better(comparison):
        before, after = comparison.letter_perfect
        text = (
            f"{verdict}: the same words on {_held_out(images)}, but {after} instead of {before} captions have people's "
            "capitals and spaces too."
        )
    else:
        text = f"{verdict}: {_finding(comparison)} {_figures(comparison)}."
    if rule in ("always", "never"):
        text += f' The rule "{rule}" decided.'
    elif rule == "surely better" and not promote and (comparison.evidence > 0 or _only_writes_better(comparison)):
        text += f" The rule asks for {_percent(SURE)} certainty."
    if images < FEW_IMAGES:
        text += f" With only {_held_out(images)} this is little more than a guess; correct more to be surer."
    return text


def _finding(comparison: Comparison) -> str:
    """One verdict, by the evidence as the rule "better" is; the figures behind it follow."""
    is_better, images = comparison.evidence > 0, comparison.second.images
    chance = max(comparison.probability if is_better else 1 - comparison.probability, 0.5)
    said = certainty.verdict(chance if is_better else 1 - chance)
    if said == certainty.CLOSE:
        return f"{said} on {_held_out(images)}; it is on balance {'a little' if is_better else 'not'} better"
    if "probably" in said:
        return f"{said} on {'only ' if images < _FEW_FOR_PEOPLE else ''}{_held_out(images)}"
    return f"on {_held_out(images)} its captions are {'closer to' if is_better else 'further from'} what people wrote"


def _figures(comparison: Comparison) -> str:
    low, high = comparison.interval
    before, after = comparison.first, comparison.second
    return (
        f"(CIDEr-D + BLEU-4 {comparison.difference:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}; exactly right "
        f"{_exact(after)} instead of {_exact(before)} of {after.images}; words to change "
        f"{_percent(after.word_edit_rate)} instead of {_percent(before.word_edit_rate)})"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.0f}\u00a0%"  # not broken over two lines


def _held_out(images: int) -> str:
    return "one held-out image" if images == 1 else f"{images} held-out images"


def _exact(evaluation: Evaluation) -> int:
    return round(evaluation.exact_match * evaluation.images)
