"""Word alignment: which old tokens a new token corresponds to, from pairs of captions of the same picture.

The model's caption and the person's are no translations of each other, but over some dozens of pictures "Katze" occurs
where "cat" does. IBM model 1 (Brown et al. 1993, "The
Mathematics of Statistical Machine Translation", section 4.1, aclanthology.org/J93-2003) estimates that: each old token
is taken to come from one of the new caption's tokens, or from none, with a probability that expectation maximisation
finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

_ROUNDS = 10
_NOTHING = -1  # IBM model 1's empty word, for old tokens without a counterpart
_LEAST = 1e-3  # below it a pair is chance

Pair = tuple[Sequence[int], Sequence[int]]
"""The ids of a caption with new tokens in it, and those of the old model's caption of the same picture."""


def old_tokens_of(pairs: Sequence[Pair]) -> dict[int, dict[int, float]]:
    """New token → the old tokens aligned with it, with probabilities that sum to 1."""
    chances: Mapping[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(_ROUNDS):
        chances = _improved(chances, pairs)
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for (new, old), chance in chances.items():
        if new != _NOTHING and chance >= _LEAST:
            found[new][old] = chance
    return {new: _shares(olds) for new, olds in found.items()}


def _improved(chances: Mapping[tuple[int, int], float], pairs: Sequence[Pair]) -> Mapping[tuple[int, int], float]:
    """The chances of old tokens given a new one, after another round of expectation maximisation."""
    counts: dict[tuple[int, int], float] = defaultdict(float)
    totals: dict[int, float] = defaultdict(float)
    for news, olds in pairs:
        sources = (*news, _NOTHING)
        for old in olds:
            whole = sum(chances[new, old] for new in sources)
            for new in sources:
                share = chances[new, old] / whole
                counts[new, old] += share
                totals[new] += share
    return {(new, old): count / totals[new] for (new, old), count in counts.items()}


def _shares(weights: Mapping[int, float]) -> dict[int, float]:
    whole = sum(weights.values())
    return {key: weight / whole for key, weight in weights.items()}
