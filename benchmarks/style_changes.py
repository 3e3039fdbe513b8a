"""How soon a change of manner is noticed, and how often one is that is none: `python -m benchmarks.style_changes`.

Histories of 200 corrections of drawn scenes: in the first 60 the suggestions are a base model's, in its own words; then
a champion has learnt the manner and gets one word of twenty wrong. After every fifth correction it is asked whether the
manner has changed. In histories with a change people write in another manner from correction 120 on.

    no change          nobody changes anything
    careless 15 %      that share of the corrections has a wrong colour, a word too few, or a typing error
    one of three       every third correction is by somebody who makes such a mistake in half of theirs
    boats are new      boats, which the champion takes for cars, are in no picture before correction 120
    three are new      cats and umbrellas, taken for fish and flowers, come with them
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from captionloop.model.progress.style_changes import Pair, style_changes
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import COLOURS, KINDS, Scene, caption
from captionloop.model.starter.styles import STYLES

_LENGTH, _BASE, _CHANGE, _EACH = 200, 60, 120, 5
_SOON = 20  # corrections before which a change has to be noticed
_WRONG = 0.05  # of a champion's words

Manner = Callable[[Scene], str]
Careless = Callable[[int, random.Random], bool]


def _sentence(scene: Scene) -> str:
    return f"{caption(scene).capitalize()}."


def _gigantic(scene: Scene) -> str:
    """One word is another one."""
    return caption(scene).replace("large", "gigantic")


def _other_kinds(scene: Scene) -> str:
    """Each kind of thing has another word, and nothing else."""
    text = caption(scene)
    for kind in KINDS:
        text = text.replace(kind, f"{kind}let")
    return text


_BEFORE: dict[str, Manner] = {"canonical": caption, "alt_text": STYLES["alt_text"]}
_CHANGES: dict[str, tuple[Manner, Manner]] = {
    "one word": (caption, _gigantic),
    "words for kinds alone": (caption, _other_kinds),
    "capitals and full stop": (caption, _sentence),
    "words, opening": (caption, STYLES["met_words"]),
    "words and order": (STYLES["alt_text"], STYLES["new_words"]),
}
_NEW_THINGS: dict[str, dict[str, str]] = {
    "boats are new": {"boat": "car"},
    "three are new": {"boat": "car", "cat": "fish", "umbrella": "flower"},
}


def _never(number: int, rng: random.Random) -> bool:
    return False


def _careless_at_random(number: int, rng: random.Random) -> bool:
    return rng.random() < 0.15


def _one_of_three(number: int, rng: random.Random) -> bool:
    return number % 3 == 0 and rng.random() < 0.5


_WITHOUT_CHANGE: dict[str, tuple[Careless, Mapping[str, str]]] = {
    "no change": (_never, {}),
    "careless 15 %": (_careless_at_random, {}),
    "one of three": (_one_of_three, {}),
    **{name: (_never, new_things) for name, new_things in _NEW_THINGS.items()},
}


def _spoilt(text: str, rng: random.Random) -> str:
    words = text.split()
    coloured = [place for place, word in enumerate(words) if word.strip(",;.").lower() in COLOURS]
    kind = rng.choice(["colour", "word", "typing"])
    if kind == "colour" and coloured:
        words[rng.choice(coloured)] = rng.choice(COLOURS)
    elif kind == "word":
        words.pop(rng.randrange(len(words)))
    else:
        place = rng.randrange(len(words))
        letters = list(words[place])
        letters.insert(rng.randrange(len(letters) + 1), rng.choice("abcdefghijklmnopqrstuvwxyz"))
        words[place] = "".join(letters)
    return " ".join(words)


def _with_mistakes(text: str, rng: random.Random) -> str:
    """As a champion writes that is right in most words: the others are words of the manner."""
    words = text.split()
    return " ".join(rng.choice(words) if rng.random() < _WRONG else word for word in words)


@dataclass(frozen=True)
class History:
    """One history.

    Args:
        manners: of the first 120 corrections, and of the others.
        careless: whether a correction, by its number, is careless.
        new_things: kind that comes with the second manner → what the champion takes it for.
    """

    manners: tuple[Manner, Manner]
    careless: Careless
    seed: int
    new_things: Mapping[str, str] = field(default_factory=dict)

    def pairs(self) -> Iterator[Pair]:
        rng = random.Random(self.seed)
        scenes = map(partial(self._scene, f"history-{self.seed}"), count())
        old = (scene for scene in scenes if self.new_things.keys().isdisjoint(thing.kind for thing in scene.things))
        for number in range(_LENGTH):
            scene = next(old) if number < _CHANGE else next(scenes)
            known, wanted = self.manners[0](scene), self.manners[number >= _CHANGE](scene)
            for kind, other in self.new_things.items():
                known = known.replace(kind, other)
            suggestion = caption(scene) if number < _BASE else _with_mistakes(known, rng)
            yield Pair(number, suggestion, _spoilt(wanted, rng) if self.careless(number, rng) else wanted)

    def _scene(self, series: str, index: int) -> Scene:
        return example(series, index)[0]

    def noticed(self) -> int | None:
        """The first correction after which a change is said."""
        pairs = list(self.pairs())
        asked = range(_EACH, _LENGTH + 1, _EACH)
        return next((known for known in asked if style_changes(pairs[:known])), None)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=100)
    histories = parser.parse_args(arguments).histories
    for name, (careless, new_things) in _WITHOUT_CHANGE.items():
        for before, manner in _BEFORE.items():
            found = [History((manner, manner), careless, seed, new_things).noticed() for seed in range(histories)]
            alarms = histories - found.count(None)
            print(f"{name}, {before}: a false alarm in {alarms} of {histories} histories", flush=True)
    for name, manners in _CHANGES.items():
        found = [History(manners, _careless_at_random, seed).noticed() for seed in range(histories)]
        delays = [known - _CHANGE for known in found if known is not None and known > _CHANGE]
        missed, early = found.count(None), sum(known is not None and known <= _CHANGE for known in found)
        soon = sum(delay < _SOON for delay in delays)
        late = f"after {statistics.median(delays):.0f} corrections, at most {max(delays)}" if delays else "never"
        print(f"{name}: noticed {late}; {soon} of {histories} before {_SOON}", end="; ")
        print(f"missed {missed}, too early {early}", flush=True)


if __name__ == "__main__":
    main()
