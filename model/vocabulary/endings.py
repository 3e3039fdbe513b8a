"""Stems and endings of words, found by comparing the words with each other.

Where a language bends its words, few corrections show each word in each of its forms: "rotes" may come three times and
"gelbes" never. Written as "gelbe" and "s", the one was learnt from other colours and the other from other words.

A word is cut where both halves are met elsewhere: its stem with other endings, its ending with other stems (the
paradigms, or signatures, of Goldsmith 2001, "Unsupervised Learning of the Morphology of a Natural Language",
aclanthology.org/J01-2001, without its search for the shortest description).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

_SHORTEST_STEM = 3  # characters
_LONGEST_ENDING = 4
_FEWEST_STEMS = 3  # that make an ending one, and no coincidence

Paradigms = Mapping[str, frozenset[str]]
"""Stem → its endings, the empty one among them where the stem is a word itself."""


def stems_and_endings(words: Collection[str]) -> dict[str, tuple[str, str]]:
    """Word → its stem and its ending, which may be empty, for the words that can be cut.

    Args:
        words: all that are known, in lower case, each once.
    """
    paradigms = _productive(_possible(words))
    strength = _strength(paradigms)
    cuts = {word: _best_cut(word, paradigms, strength) for word in sorted(words)}
    return {word: cut for word, cut in cuts.items() if cut}


def _possible(words: Collection[str]) -> Paradigms:
    endings: dict[str, set[str]] = defaultdict(set)
    for word in words:
        for stem, ending in _cuts(word):
            endings[stem].add(ending)
    return {stem: frozenset(found) for stem, found in endings.items()}


def _productive(paradigms: Paradigms) -> Paradigms:
    """Without endings of few stems, then without stems of a single ending, and so on until nothing is left to drop."""
    while True:
        varied = {stem: endings for stem, endings in paradigms.items() if len(endings) > 1}
        strength = _strength(varied)
        kept = {
            stem: frozenset(ending for ending in endings if strength[ending] >= _FEWEST_STEMS)
            for stem, endings in varied.items()
        }
        if kept == paradigms:
            return paradigms
        paradigms = kept


def _strength(paradigms: Paradigms) -> Counter[str]:
    """How many stems each ending has."""
    return Counter(ending for endings in paradigms.values() for ending in endings)


def _best_cut(word: str, paradigms: Paradigms, strength: Mapping[str, int]) -> tuple[str, str] | None:
    """Where the stem has most endings, of these where the ending has most stems, of these where the stem is longest."""
    possible = [(stem, ending) for stem, ending in _cuts(word) if ending in paradigms.get(stem, ())]
    return max(possible, key=lambda cut: (len(paradigms[cut[0]]), strength[cut[1]], len(cut[0])), default=None)


def _cuts(word: str) -> list[tuple[str, str]]:
    places = range(max(len(word) - _LONGEST_ENDING, _SHORTEST_STEM), len(word) + 1)
    return [(word[:place], word[place:]) for place in places]
