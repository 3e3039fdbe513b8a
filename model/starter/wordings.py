"""Other wordings of a scene's caption, for the variety that a captioner trained on web data has seen.

The starter model is trained on these beside the canonical caption. It never writes them by itself, but words and orders
that it has seen, however rarely, are learnt quickly from corrections. A wording may omit something (as people do) but
is never false.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captionloop.model.starter.scenes import Scene, Thing

_KINDS: dict[str, tuple[str, ...]] = {
    "house": (
        "house",
        "home",
        "cottage",
        "building",
        "cabin",
        "hut",
        "dwelling",
        "residence",
        "bungalow",
        "little house",
    ),
    "tree": ("tree", "leafy tree", "oak", "oak tree", "sapling", "shade tree", "plant", "maple", "shrub"),
    "car": ("car", "automobile", "auto", "vehicle", "motor car", "sedan", "hatchback", "taxi", "motorcar"),
    "boat": ("boat", "sailboat", "ship", "sailing boat", "vessel", "yacht", "dinghy", "sailing ship", "craft"),
    "fish": ("fish", "goldfish", "swimming fish", "sea creature", "tropical fish", "sea animal", "trout"),
    "cat": ("cat", "kitty", "kitten", "feline", "house cat", "pussycat", "tabby", "tomcat", "pet"),
    "sun": ("sun", "smiling sun", "shining sun", "sunshine", "bright sun", "star", "cartoon sun"),
    "cloud": ("cloud", "fluffy cloud", "puffy cloud", "rain cloud", "cumulus", "smiling cloud", "puff"),
    "flower": ("flower", "blossom", "bloom", "daisy", "garden flower", "wildflower", "blooming flower", "posy"),
    "umbrella": ("umbrella", "parasol", "brolly", "sunshade", "open umbrella", "rain umbrella", "beach umbrella"),
}
_COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby", "cherry", "bright red", "reddish", "cherry red", "tomato"),
    "orange": ("orange", "tangerine", "amber", "pumpkin", "apricot", "bright orange", "carrot"),
    "yellow": ("yellow", "golden", "gold", "lemon", "canary", "bright yellow", "sunny yellow", "mustard"),
    "green": ("green", "emerald", "lime", "jade", "leaf green", "grass green", "olive", "moss"),
    "blue": ("blue", "azure", "navy", "cobalt", "sky blue", "sapphire", "bright blue", "navy blue", "indigo"),
    "purple": ("purple", "violet", "lilac", "lavender", "plum", "mauve", "grape", "amethyst"),
    "pink": ("pink", "rose", "rosy", "salmon", "light pink", "fuchsia", "magenta", "blush"),
    "white": ("white", "ivory", "snowy", "cream", "pale", "snow white", "off-white", "pearl", "chalk"),
}
_SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny", "mini", "miniature", "petite", "wee", "compact", "minute", "short"),
    "large": ("large", "big", "huge", "giant", "enormous", "great", "massive", "oversized", "sizable", "tall", "bulky"),
}
# How the first thing lies to the second, and the second to the first.
_TO_THE_OTHER: dict[str, tuple[str, ...]] = {
    "to the left of": (
        "to the left of",
        "left of",
        "on the left of",
        "at the left of",
        "on the left side of",
        "at left of",
    ),
    "above": ("above", "over", "on top of", "higher than", "hovering over", "up above", "atop", "high above"),
    "in front of": (
        "in front of",
        "before",
        "overlapping",
        "partly hiding",
        "ahead of",
        "nearer than",
        "covering part of",
    ),
}
_FROM_THE_OTHER: dict[str, tuple[str, ...]] = {
    "to the left of": ("to the right of", "right of", "on the right of", "on the right side of", "at the right of"),
    "above": ("below", "under", "beneath", "underneath", "lower than", "down below", "at the foot of"),
    "in front of": ("behind", "in back of", "partly hidden by", "at the rear of", "farther than", "covered by"),
}
# The places of the first thing and of the others, for wordings that give each thing its own place.
_PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "to the left of": (("left", "right"), ("on the left", "on the right"), ("at left", "at right"), ("west", "east")),
    "above": (
        ("top", "bottom"),
        ("at the top", "at the bottom"),
        ("above", "below"),
        ("up high", "down low"),
        ("upper", "lower"),
    ),
    "in front of": (
        ("front", "back"),
        ("in front", "behind"),
        ("foreground", "background"),
        ("near", "far"),
        ("close", "distant"),
    ),
}
_BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain background", "with a plain background", "on pale paper"),
    "sky": ("in the sky", "against a blue sky", "with the sky behind", "under an open sky"),
    "grass": ("on the grass", "in a meadow", "on a green lawn", "in a field"),
    "sand": ("on the sand", "on a beach", "on a sandy beach", "in the desert"),
    "dots": ("on a dotted background", "with polka dots", "on spotted paper"),
    "stripes": ("on a striped background", "with stripes", "on striped wallpaper"),
}
_OPENINGS = (
    "a picture of", "a photo of", "an image of", "a drawing of", "an illustration of", "picture of", "photo of", "image of",
    "drawing of", "illustration of", "a cartoon of", "cartoon of", "a sketch of", "a painting of", "artwork of", "a view of",
    "illustration:", "image:", "picture:", "photo:", "alt text:", "alt:", "caption:", "scene:", "drawing:", "cartoon:", "figure:",
    "there is", "there's", "there are", "here is", "here we see", "this is", "this shows", "it shows", "showing", "depicting",
    "the image shows", "the picture shows", "this image shows", "this picture shows", "this drawing shows", "image showing",
    "a cartoon showing", "drawing showing", "the scene shows", "an image depicting", "in this picture there is",
    "in the picture,", "in this image,", "we see", "we can see", "you can see", "i see", "one can see", "look,",
    "a scene with", "a cartoon with", "a simple drawing of", "a simple illustration showing", "clip art of", "graphic of",
    "a small picture of", "a child's drawing of", "a colorful drawing of", "a digital illustration of", "icon of", "poster of",
)  # fmt: skip
_ENDINGS = (
    ".", ".", ".", "!", " in the picture", " in the image", " in this picture.", " can be seen", " is shown", " are visible",
    " (drawing)", " (illustration)", ", cartoon", ", illustration", ", clip art", ", drawing", " in cartoon style", ", simple shapes",
    " in a drawing.", " is visible.", " and nothing else.", ", nothing else", " here.", " all together", ", flat colors",
)  # fmt: skip
_COUNTS = (
    ("one thing", "two things", "three things"),
    ("one object", "two objects", "three objects"),
    ("a single item", "a pair of items", "a group of three items"),
    ("one", "two", "three"),
    ("1", "2", "3"),
    ("1 object", "2 objects", "3 objects"),
)
_ARTICLES = ("a", "a", "a", "the", "one", "", "", "some", "this", "1", "another")
_LISTS = (
    ", ",
    "; ",
    " and ",
    " / ",
    " | ",
    " + ",
    " - ",
    " & ",
    ". ",
    ", and ",
    " with ",
    " plus ",
    " as well as ",
    " : ",
)
_LINKS = (
    "",
    "",
    "",
    "",
    ",",
    " is",
    " sits",
    " stands",
    " placed",
    " lies",
    " is located",
    " that is",
    " seen",
    " located",
    " positioned",
    " resting",
    ";",
)
_AND = (" and ", " and ", " and ", ", ", " & ", " plus ", " with ", " as well as ", " and also ", " together with ")


def wordings(scene: Scene, rng: random.Random) -> str:
    """One natural way to describe the scene, in lower case; consistent in its style, true, seldom the canonical one."""
    voice = _Voice(rng)
    body = rng.choices((_related, _placed, _listed, _by_attribute), weights=(6, 3, 2, 1))[0](scene, voice)
    return _framed(scene, voice, body)


class _Voice:
    """One writer's habits, kept through a caption."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        # Some writers keep to the plainest words, some never do.
        self._plainness = rng.choice((0.0, 0.2, 0.5, 0.9))
        self._article = rng.choice(_ARTICLES)
        self._template = rng.choices(_TEMPLATES, weights=_TEMPLATE_WEIGHTS)[0]
        self._chosen: dict[str, str] = {}

    def word(self, canonical: str, choices: tuple[str, ...]) -> str:
        """The writer's word, the same one each time."""
        if canonical not in self._chosen:
            plain = self.rng.random() < self._plainness
            self._chosen[canonical] = canonical if plain else self.rng.choice(choices)
        return self._chosen[canonical]

    def kind(self, thing: Thing) -> str:
        return self.word(thing.kind, _KINDS[thing.kind])

    def colour(self, thing: Thing) -> str:
        return self.word(thing.colour, _COLOURS[thing.colour])

    def size(self, thing: Thing) -> str:
        return self.word(thing.size, _SIZES[thing.size])

    def thing(self, thing: Thing) -> str:
        kind, colour, size = self.kind(thing), self.colour(thing), self.size(thing)
        text = self._template.format(kind=kind, colour=colour, size=size, a="@")
        while "@ " in text:
            start, rest = text.split("@ ", 1)
            text = start + self._with_article(rest)
        return text

    def _with_article(self, rest: str) -> str:
        if not self._article:
            return rest
        article = "an" if self._article == "a" and rest[0] in "aeiou" else self._article
        return f"{article} {rest}"


# Every order of the three words; what separates them; what may be left out.
_TEMPLATES = (
    "@ {size} {colour} {kind}",
    "@ {colour} {size} {kind}",
    "@ {colour} {kind}, {size}",
    "@ {size} {kind}, {colour}",
    "@ {kind}, {colour}, {size}",
    "@ {kind}, {size}, {colour}",
    "@ {kind}, {size} and {colour}",
    "@ {kind}, {colour} and {size}",
    "@ {kind} ({colour}, {size})",
    "@ {kind} ({size}, {colour})",
    "@ {kind} ({size} {colour})",
    "@ {colour} {kind} ({size})",
    "@ {size} {kind} ({colour})",
    "@ {kind} that is {size} and {colour}",
    "@ {kind} that is {colour} and {size}",
    "@ {kind} which is {colour}",
    "@ {kind} in {colour}, {size}",
    "@ {size} {kind} in {colour}",
    "@ {size} {kind} of {colour} color",
    "@ {kind} of {size} size and {colour} colour",
    "@ {kind}, {colour} in color and {size} in size",
    "@ {size}, {colour} {kind}",
    "@ {colour}, {size} {kind}",
    "@ {size} and {colour} {kind}",
    "@ {colour} and {size} {kind}",
    "@ {colour}-colored {size} {kind}",
    "@ {size} {colour}-coloured {kind}",
    "@ very {size} {colour} {kind}",
    "@ {size}-sized {colour} {kind}",
    "@ {size} {kind} painted {colour}",
    "@ {kind} - {size}, {colour}",
    "@ {kind}: {colour}, {size}",
    "@ {kind}: {size} {colour}",
    "{size}: {colour} {kind}",
    "{colour}: {size} {kind}",
    "{kind} / {colour} / {size}",
    "{kind} | {size} | {colour}",
    "{kind} {colour} {size}",
    "{kind} {size} {colour}",
    "{colour} {kind} {size}",
    "{size} {kind} {colour}",
    "[{size} {colour} {kind}]",
    "#{kind} #{colour} #{size}",
    "@ {kind} = {colour} + {size}",
    "@ {colour} {kind}",
    "@ {size} {kind}",
    "@ {kind}",
)
_TEMPLATE_WEIGHTS = tuple(12 if index == 0 else 4 if index == 1 else 1 for index in range(len(_TEMPLATES)))


def _related(scene: Scene, voice: _Voice) -> str:
    """Things joined by how they lie to each other, from either side."""
    first, *others = (voice.thing(thing) for thing in scene.things)
    if scene.relation is None:
        return first
    rng = voice.rng
    if len(others) > 1 and rng.random() < 0.3:
        rng.shuffle(others)
    rest = rng.choice(_AND).join(others)
    forward = rng.choice(_TO_THE_OTHER[scene.relation])
    backward = rng.choice(_FROM_THE_OTHER[scene.relation])
    here, there = rng.choice(_PLACES[scene.relation])
    link = rng.choice(_LINKS)
    both = rng.choice(_LISTS)
    return rng.choices(
        (
            f"{first}{link} {forward} {rest}",
            f"{rest}{link} {backward} {first}",
            f"{forward} {rest}, {first}",
            f"{backward} {first} there is {rest}",
            f"{rest} with {first} {here}",
            f"{first} with {rest} {there}",
            f"{first}{both}{rest}, {here} to {there}",
            f"{first} ({here}){both}{rest} ({there})",
            f"{first} -> {forward} -> {rest}",
            f"{first} beside {rest}" if scene.relation == "to the left of" else f"{first} near {rest}",
        ),
        weights=(10, 6, 2, 2, 2, 2, 2, 1, 1, 1),
    )[0]


def _placed(scene: Scene, voice: _Voice) -> str:
    """Each thing with its own place."""
    first, *others = (voice.thing(thing) for thing in scene.things)
    if scene.relation is None:
        return first
    rng = voice.rng
    rest = rng.choice(_AND).join(others)
    here, there = rng.choice(_PLACES[scene.relation])
    shape = rng.choice(
        (
            "{place}: {what}",
            "{what} {place}",
            "{place}, {what}",
            "{place} is {what}",
            "{what} ({place})",
            "{place} {what}",
        )
    )
    parts = [shape.format(place=here, what=first), shape.format(place=there, what=rest)]
    if rng.random() < 0.3:
        parts.reverse()
    return rng.choice(_LISTS).join(parts)


def _listed(scene: Scene, voice: _Voice) -> str:
    """Things in a row, without their places."""
    parts = [voice.thing(thing) for thing in scene.things]
    if voice.rng.random() < 0.3:
        parts.reverse()
    body = voice.rng.choice(_LISTS).join(parts)
    if voice.rng.random() < 0.5:
        return body
    count = voice.rng.choice(_COUNTS)[len(parts) - 1]
    return voice.rng.choice(
        (f"{count}: {body}", f"{count}, {body}", f"{body} ({count})", f"{body}, {count}", f"{count} - {body}")
    )


def _by_attribute(scene: Scene, voice: _Voice) -> str:
    """All kinds, then all colours, then all sizes, in any order."""
    columns = [
        ("objects", [voice.kind(thing) for thing in scene.things]),
        ("colors", [voice.colour(thing) for thing in scene.things]),
        ("sizes", [voice.size(thing) for thing in scene.things]),
    ]
    voice.rng.shuffle(columns)
    glue = voice.rng.choice((", ", " and ", " / ", " "))
    named = voice.rng.random() < 0.5
    return voice.rng.choice(("; ", ", ", " - ", ". ")).join(
        f"{name}: {glue.join(words)}" if named else glue.join(words) for name, words in columns
    )


def _framed(scene: Scene, voice: _Voice, body: str) -> str:
    """Perhaps an opening, the background and an ending around it."""
    rng = voice.rng
    if rng.random() < 0.5:
        body = f"{rng.choice(_OPENINGS)} {body}"
    if rng.random() < 0.15:
        ground = rng.choice(_BACKGROUNDS[scene.background])
        body = rng.choice((f"{body} {ground}", f"{body}, {ground}", f"{ground}, {body}", f"{ground}: {body}"))
    if rng.random() < 0.35:
        body += rng.choice(_ENDINGS)
    return " ".join(body.split())
