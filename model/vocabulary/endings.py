"""Stems and endings of words, found by comparing the words with each other.

In an inflected language, few corrections contain each word in each of its forms: "rotes" may come three times and
"gelbes" never. Written as "gelb" and "es", the one was learnt from other colours and the other from other words.

Of all ways to cut the words, that one is looked for which takes the fewest bits to write down (minimum description
length: Goldsmith 2001, "Unsupervised Learning of the Morphology of a Natural Language", aclanthology.org/J01-2001; the
costs are those of Creutz and Lagus 2002, "Unsupervised Discovery of Morphemes", aclanthology.org/W02-0603): each stem
and each ending once, letter by letter, and for each word which of them it has. So all forms of a word come to have the
same stem, since another stem would have to be written down as well.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

_SHORTEST_STEM = 3  # characters
_LONGEST_ENDING = 4
_FEWEST_STEMS = 3  # that make an ending one
_LONG_STEM, _MANY_ENDINGS = 5, 3  # from which on it is no coincidence that words begin alike
_MOST_ROUNDS = 10  # three to five settle it
_ROUNDING = 1e-6  # bits


def stems_and_endings(words: Collection[str]) -> dict[str, tuple[str, str]]:
    """Word → its stem and its ending, which may be empty, for the words that can be cut.

    Args:
        words: all that are known, in lower case, each once.
    """
    cuts = _Cuts(sorted(words))
    families = _families(cuts.words)
    for _ in range(_MOST_ROUNDS):
        moved = [cuts.move({word: len(stem) for word in family}) for stem, family in families.items()]
        moved += [cuts.move({word: place}) for word in cuts.words for place in _places(word)]
        if not any(moved):
            break
    return cuts.found()


def _families(words: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Each beginning that several words have → the words that are little longer."""
    families: dict[str, list[str]] = defaultdict(list)
    for word in words:
        for place in _places(word):
            families[word[:place]].append(word)
    return {stem: family for stem, family in families.items() if len(family) > 1}


def _places(word: str) -> Iterator[int]:
    """Where a word may be cut; its end, for a stem without an ending, is one."""
    yield from range(max(len(word) - _LONGEST_ENDING, _SHORTEST_STEM), len(word))
    yield len(word)


class _Cuts:
    """Words, each cut somewhere, and what it takes to write that down."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._place = {word: len(word) for word in words}
        self._bits_per_letter = math.log2(1 + len({letter for word in words for letter in word}))
        self._stems, self._endings = Counter(words), Counter({"": len(words)})

    def move(self, places: Mapping[str, int]) -> bool:
        """Cut these words there if that takes fewer bits; whether it did."""
        before = {word: self._place[word] for word in places}
        stems = {word[:place] for cuts in (before, places) for word, place in cuts.items()}
        endings = {word[place:] for cuts in (before, places) for word, place in cuts.items()}
        bits = self._bits(stems, endings)
        self._cut(places)
        if self._bits(stems, endings) < bits - _ROUNDING:
            return True
        self._cut(before)
        return False

    def found(self) -> dict[str, tuple[str, str]]:
        """Without stems whose words may be alike by coincidence."""
        cut = {word: (word[:place], word[place:]) for word, place in self._place.items()}
        endings: dict[str, list[str]] = defaultdict(list)
        for stem, ending in cut.values():
            endings[stem].append(ending)
        return {word: (stem, ending) for word, (stem, ending) in cut.items() if self._is_sure(stem, endings[stem])}

    def _is_sure(self, stem: str, endings: Sequence[str]) -> bool:
        """Whether its endings are met with other stems too: all of a short stem with few, else one."""
        common = [ending for ending in endings if not ending or self._endings[ending] >= _FEWEST_STEMS]
        is_long = len(stem) >= _LONG_STEM or len(endings) >= _MANY_ENDINGS
        return len(endings) > 1 and any(common) and (is_long or len(common) == len(endings))

    def _cut(self, places: Mapping[str, int]) -> None:
        for word, place in places.items():
            old = self._place[word]
            self._stems[word[:old]] -= 1
            self._endings[word[old:]] -= 1
            self._stems[word[:place]] += 1
            self._endings[word[place:]] += 1
            self._place[word] = place

    def _bits(self, stems: Collection[str], endings: Collection[str]) -> float:
        """What these take, but for a constant: their letters, and for each word which it has."""
        return sum(self._bits_of(stem, self._stems[stem]) for stem in stems) + sum(
            self._bits_of(ending, self._endings[ending]) for ending in endings
        )

    def _bits_of(self, part: str, count: int) -> float:
        return self._bits_per_letter * (len(part) + 1) - count * math.log2(count) if count else 0.0
