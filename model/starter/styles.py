"""House styles for experiments. None is among the wordings that the starter model was trained on."""

from __future__ import annotations

from collections.abc import Callable

from captionloop.model.starter.scenes import Scene, Thing

_NEW_WORDS = {
    "small": "teeny", "large": "gigantic",
    "red": "maroon", "orange": "copper", "yellow": "blond", "green": "mint",
    "blue": "turquoise", "purple": "orchid", "pink": "peach", "white": "silver",
    "house": "villa", "tree": "willow", "car": "jeep", "boat": "ferry", "fish": "shark",
    "cat": "creature", "sun": "sunlight", "cloud": "fog", "flower": "tulip", "umbrella": "canopy",
}  # fmt: skip
_MET_WORDS = {
    "small": "tiny", "large": "big",
    "red": "crimson", "orange": "tangerine", "yellow": "golden", "green": "emerald",
    "blue": "azure", "purple": "violet", "pink": "rose", "white": "ivory",
    "house": "cottage", "tree": "oak", "car": "automobile", "boat": "ship", "fish": "goldfish",
    "cat": "kitten", "sun": "sunshine", "cloud": "puff", "flower": "blossom", "umbrella": "parasol",
}  # fmt: skip


def alt_text(scene: Scene) -> str:
    """Alt-text wording: kind first, attributes after it, plain words."""
    links = {"to the left of": "; to its right, ", "above": "; under it, ", "in front of": "; behind it, "}
    first, *others = (f"{t.kind}, {t.colour}, {t.size}" for t in scene.things)
    return f"illustration: {first}{links.get(scene.relation or '', '')}{' and '.join(others)}"


def met_words(scene: Scene) -> str:
    """The canonical order in other words, all of which the base has seen."""
    return _canonical_order(scene, _MET_WORDS, {"to the left of": "left of", "above": "over", "in front of": "before"})


def new_words(scene: Scene) -> str:
    """The canonical order in words that the base has never seen."""
    relations = {"to the left of": "alongside", "above": "topping", "in front of": "obscuring"}
    return _canonical_order(scene, _NEW_WORDS, relations)


def new_words_and_order(scene: Scene) -> str:
    """Words never seen, the last thing first, and the colour last."""
    relations = {"to the left of": "opposite", "above": "underside", "in front of": "beyond"}
    things = [f"the {_NEW_WORDS[t.kind]}, {_NEW_WORDS[t.size]} and {_NEW_WORDS[t.colour]}" for t in scene.things]
    if scene.relation is None:
        return f"{things[0]}."
    return f"{' plus '.join(things[1:])} {relations[scene.relation]} {things[0]}."


def _canonical_order(scene: Scene, words: dict[str, str], relations: dict[str, str]) -> str:
    def phrase(thing: Thing) -> str:
        return f"one {words[thing.size]} {words[thing.colour]} {words[thing.kind]}"

    first, *others = map(phrase, scene.things)
    return f"{first} {relations[scene.relation]} {' and '.join(others)}" if scene.relation else first


STYLES: dict[str, Callable[[Scene], str]] = {
    style.__name__: style for style in (alt_text, met_words, new_words, new_words_and_order)
}
