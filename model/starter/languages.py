"""What a person would write for a scene in their own language, with its own words, endings and order.

Each language is a function from a scene to one caption, as `styles` has them for English. Genders, cases and counters
are those of the language; everything that the English caption says is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from captionloop.errors import SettingsError
from captionloop.model.starter.scenes import Scene, Thing

_LEFT, _ABOVE, _FRONT = "to the left of", "above", "in front of"

Gender = Literal["m", "f", "n"]


# German: adjectives with endings by gender and case, capital nouns

_GERMAN_NOUNS: Mapping[str, tuple[str, Gender]] = {
    "house": ("Haus", "n"), "tree": ("Baum", "m"), "car": ("Auto", "n"), "boat": ("Boot", "n"),
    "fish": ("Fisch", "m"), "cat": ("Katze", "f"), "sun": ("Sonne", "f"), "cloud": ("Wolke", "f"),
    "flower": ("Blume", "f"), "umbrella": ("Regenschirm", "m"),
}  # fmt: skip
_GERMAN_STEMS = {
    "small": "klein", "large": "groß", "red": "rot", "orange": "orangefarben", "yellow": "gelb", "green": "grün",
    "blue": "blau", "purple": "violett", "white": "weiß",
}  # fmt: skip
_GERMAN_RELATIONS = {_LEFT: "links von", _ABOVE: "über", _FRONT: "vor"}
_GERMAN_NOMINATIVE = {"m": ("ein", "er"), "f": ("eine", "e"), "n": ("ein", "es")}
_GERMAN_DATIVE = {"m": ("einem", "en"), "f": ("einer", "en"), "n": ("einem", "en")}


def german(scene: Scene) -> str:
    """Ein kleines rotes Auto links von einem großen grünen Baum."""

    def phrase(thing: Thing, case: Mapping[str, tuple[str, str]]) -> str:
        noun, gender = _GERMAN_NOUNS[thing.kind]
        article, ending = case[gender]
        # "rosa" takes no ending.
        colour = "rosa" if thing.colour == "pink" else _GERMAN_STEMS[thing.colour] + ending
        return f"{article} {_GERMAN_STEMS[thing.size]}{ending} {colour} {noun}"

    first, others = _first_and_others(
        scene, lambda thing: phrase(thing, _GERMAN_NOMINATIVE), lambda thing: phrase(thing, _GERMAN_DATIVE)
    )
    return _sentence(_related(first, _GERMAN_RELATIONS, scene, " und ".join(others)))


# French: gender, elision, colours after the noun

_FRENCH_NOUNS: Mapping[str, tuple[str, Gender]] = {
    "house": ("maison", "f"), "tree": ("arbre", "m"), "car": ("voiture", "f"), "boat": ("bateau", "m"),
    "fish": ("poisson", "m"), "cat": ("chat", "m"), "sun": ("soleil", "m"), "cloud": ("nuage", "m"),
    "flower": ("fleur", "f"), "umbrella": ("parapluie", "m"),
}  # fmt: skip
_FRENCH_ADJECTIVES = {
    "small": ("petit", "petite"), "large": ("grand", "grande"), "red": ("rouge", "rouge"),
    "orange": ("orange", "orange"), "yellow": ("jaune", "jaune"), "green": ("vert", "verte"),
    "blue": ("bleu", "bleue"), "purple": ("violet", "violette"), "pink": ("rose", "rose"),
    "white": ("blanc", "blanche"),
}  # fmt: skip


def french(scene: Scene) -> str:
    """Une petite voiture rouge à gauche d'un grand arbre vert et d'une fleur rose."""

    def phrase(thing: Thing) -> str:
        noun, gender = _FRENCH_NOUNS[thing.kind]
        size, colour = (_FRENCH_ADJECTIVES[word][gender == "f"] for word in (thing.size, thing.colour))
        return f"{'une' if gender == 'f' else 'un'} {size} {noun} {colour}"

    first, *others = map(phrase, scene.things)
    of_others = " et ".join(f"d'{other}" for other in others)
    relations = {
        _LEFT: f"{first} à gauche {of_others}",
        _ABOVE: f"{first} au-dessus {of_others}",
        _FRONT: f"{first} devant {' et '.join(others)}",
    }
    return _sentence(relations[scene.relation] if scene.relation else first)


# Russian: gender and case of nouns and adjectives

# Nominative, genitive, instrumental.
_RUSSIAN_NOUNS: Mapping[str, tuple[str, str, str, Gender]] = {
    "house": ("дом", "дома", "домом", "m"), "tree": ("дерево", "дерева", "деревом", "n"),
    "car": ("машина", "машины", "машиной", "f"), "boat": ("лодка", "лодки", "лодкой", "f"),
    "fish": ("рыба", "рыбы", "рыбой", "f"), "cat": ("кошка", "кошки", "кошкой", "f"),
    "sun": ("солнце", "солнца", "солнцем", "n"), "cloud": ("облако", "облака", "облаком", "n"),
    "flower": ("цветок", "цветка", "цветком", "m"), "umbrella": ("зонт", "зонта", "зонтом", "m"),
}  # fmt: skip
# Stem, and what kind of endings it takes.
_RUSSIAN_STEMS = {
    "small": ("маленьк", "velar"), "large": ("больш", "stressed"), "red": ("красн", "hard"),
    "orange": ("оранжев", "hard"), "yellow": ("жёлт", "hard"), "green": ("зелён", "hard"), "blue": ("син", "soft"),
    "purple": ("фиолетов", "hard"), "pink": ("розов", "hard"), "white": ("бел", "hard"),
}  # fmt: skip
# Nominative, genitive, instrumental of each gender.
_RUSSIAN_ENDINGS = {
    "hard": {"m": ("ый", "ого", "ым"), "f": ("ая", "ой", "ой"), "n": ("ое", "ого", "ым")},
    "velar": {"m": ("ий", "ого", "им"), "f": ("ая", "ой", "ой"), "n": ("ое", "ого", "им")},
    "stressed": {"m": ("ой", "ого", "им"), "f": ("ая", "ой", "ой"), "n": ("ое", "ого", "им")},
    "soft": {"m": ("ий", "его", "им"), "f": ("яя", "ей", "ей"), "n": ("ее", "его", "им")},
}
_RUSSIAN_RELATIONS = {_LEFT: ("слева от", 1), _ABOVE: ("над", 2), _FRONT: ("перед", 2)}


def russian(scene: Scene) -> str:
    """Маленькая красная машина слева от большого зелёного дерева"""

    def phrase(thing: Thing, case: int) -> str:
        *forms, gender = _RUSSIAN_NOUNS[thing.kind]
        adjectives = [_RUSSIAN_STEMS[word] for word in (thing.size, thing.colour)]
        words = [stem + _RUSSIAN_ENDINGS[endings][gender][case] for stem, endings in adjectives]
        return " ".join([*words, forms[case]])

    _, case = _RUSSIAN_RELATIONS.get(scene.relation or "", ("", 0))
    first, others = _first_and_others(scene, lambda thing: phrase(thing, 0), lambda thing: phrase(thing, case))
    relations = {name: words for name, (words, _) in _RUSSIAN_RELATIONS.items()}
    return _capitalised(_related(first, relations, scene, " и ".join(others)))


# Greek: gender and case

# Nominative, accusative.
_GREEK_NOUNS: Mapping[str, tuple[str, str, Gender]] = {
    "house": ("σπίτι", "σπίτι", "n"), "tree": ("δέντρο", "δέντρο", "n"), "car": ("αυτοκίνητο", "αυτοκίνητο", "n"),
    "boat": ("βάρκα", "βάρκα", "f"), "fish": ("ψάρι", "ψάρι", "n"), "cat": ("γάτα", "γάτα", "f"),
    "sun": ("ήλιος", "ήλιο", "m"), "cloud": ("σύννεφο", "σύννεφο", "n"), "flower": ("λουλούδι", "λουλούδι", "n"),
    "umbrella": ("ομπρέλα", "ομπρέλα", "f"),
}  # fmt: skip
# Masculine, feminine, neuter; the masculine loses its -ς in the accusative.
_GREEK_ADJECTIVES = {
    "small": ("μικρός", "μικρή", "μικρό"), "large": ("μεγάλος", "μεγάλη", "μεγάλο"),
    "red": ("κόκκινος", "κόκκινη", "κόκκινο"), "orange": ("πορτοκαλί",) * 3,
    "yellow": ("κίτρινος", "κίτρινη", "κίτρινο"), "green": ("πράσινος", "πράσινη", "πράσινο"), "blue": ("μπλε",) * 3,
    "purple": ("μωβ",) * 3, "pink": ("ροζ",) * 3, "white": ("άσπρος", "άσπρη", "άσπρο"),
}  # fmt: skip
_GREEK_ARTICLES = {"m": ("ένας", "έναν"), "f": ("μια", "μια"), "n": ("ένα", "ένα")}
_GREEK_RELATIONS = {_LEFT: "αριστερά από", _ABOVE: "πάνω από", _FRONT: "μπροστά από"}


def greek(scene: Scene) -> str:
    """Ένα μικρό κόκκινο αυτοκίνητο αριστερά από έναν μεγάλο κίτρινο ήλιο."""

    def phrase(thing: Thing, case: int) -> str:
        *forms, gender = _GREEK_NOUNS[thing.kind]
        words = [_GREEK_ADJECTIVES[word]["mfn".index(gender)] for word in (thing.size, thing.colour)]
        if case:
            words = [word.removesuffix("ς") for word in words]
        return " ".join([_GREEK_ARTICLES[gender][case], *words, forms[case]])

    first, others = _first_and_others(scene, lambda thing: phrase(thing, 0), lambda thing: phrase(thing, 1))
    return _sentence(_related(first, _GREEK_RELATIONS, scene, " και ".join(others)))


# Arabic: adjectives after the noun, gender, "and" written together with what follows it

_ARABIC_NOUNS: Mapping[str, tuple[str, Gender]] = {
    "house": ("بيت", "m"), "tree": ("شجرة", "f"), "car": ("سيارة", "f"), "boat": ("قارب", "m"),
    "fish": ("سمكة", "f"), "cat": ("قطة", "f"), "sun": ("شمس", "f"), "cloud": ("غيمة", "f"),
    "flower": ("زهرة", "f"), "umbrella": ("مظلة", "f"),
}  # fmt: skip
_ARABIC_ADJECTIVES = {
    "small": ("صغير", "صغيرة"), "large": ("كبير", "كبيرة"), "red": ("أحمر", "حمراء"), "orange": ("برتقالي", "برتقالية"),
    "yellow": ("أصفر", "صفراء"), "green": ("أخضر", "خضراء"), "blue": ("أزرق", "زرقاء"), "purple": ("بنفسجي", "بنفسجية"),
    "pink": ("وردي", "وردية"), "white": ("أبيض", "بيضاء"),
}  # fmt: skip
_ARABIC_RELATIONS = {_LEFT: "على يسار", _ABOVE: "فوق", _FRONT: "أمام"}


def arabic(scene: Scene) -> str:
    """سيارة حمراء صغيرة على يسار شجرة خضراء كبيرة وزهرة وردية صغيرة"""

    def phrase(thing: Thing) -> str:
        noun, gender = _ARABIC_NOUNS[thing.kind]
        colour, size = (_ARABIC_ADJECTIVES[word][gender == "f"] for word in (thing.colour, thing.size))
        return f"{noun} {colour} {size}"

    first, *others = map(phrase, scene.things)
    return _related(first, _ARABIC_RELATIONS, scene, " و".join(others))


# Hebrew: adjectives after the noun, gender, "to" and "and" written together with what follows them

_HEBREW_NOUNS: Mapping[str, tuple[str, Gender]] = {
    "house": ("בית", "m"), "tree": ("עץ", "m"), "car": ("מכונית", "f"), "boat": ("סירה", "f"), "fish": ("דג", "m"),
    "cat": ("חתול", "m"), "sun": ("שמש", "f"), "cloud": ("ענן", "m"), "flower": ("פרח", "m"),
    "umbrella": ("מטרייה", "f"),
}  # fmt: skip
_HEBREW_ADJECTIVES = {
    "small": ("קטן", "קטנה"), "large": ("גדול", "גדולה"), "red": ("אדום", "אדומה"), "orange": ("כתום", "כתומה"),
    "yellow": ("צהוב", "צהובה"), "green": ("ירוק", "ירוקה"), "blue": ("כחול", "כחולה"), "purple": ("סגול", "סגולה"),
    "pink": ("ורוד", "ורודה"), "white": ("לבן", "לבנה"),
}  # fmt: skip
_HEBREW_RELATIONS = {_LEFT: ("משמאל ל", " ול"), _ABOVE: ("מעל ", " ו"), _FRONT: ("לפני ", " ו")}


def hebrew(scene: Scene) -> str:
    """מכונית אדומה קטנה משמאל לעץ ירוק גדול ולפרח ורוד קטן"""

    def phrase(thing: Thing) -> str:
        noun, gender = _HEBREW_NOUNS[thing.kind]
        colour, size = (_HEBREW_ADJECTIVES[word][gender == "f"] for word in (thing.colour, thing.size))
        return f"{noun} {colour} {size}"

    first, *others = map(phrase, scene.things)
    if not scene.relation:
        return first
    relation, following = _HEBREW_RELATIONS[scene.relation]
    return f"{first} {relation}{following.join(others)}"


# Hindi: what stands left, above or in front comes last; oblique forms before the postposition

# Direct, oblique.
_HINDI_NOUNS: Mapping[str, tuple[str, str, Gender]] = {
    "house": ("घर", "घर", "m"), "tree": ("पेड़", "पेड़", "m"), "car": ("कार", "कार", "f"), "boat": ("नाव", "नाव", "f"),
    "fish": ("मछली", "मछली", "f"), "cat": ("बिल्ली", "बिल्ली", "f"), "sun": ("सूरज", "सूरज", "m"),
    "cloud": ("बादल", "बादल", "m"), "flower": ("फूल", "फूल", "m"), "umbrella": ("छाता", "छाते", "m"),
}  # fmt: skip
# Masculine, masculine oblique, feminine.
_HINDI_ADJECTIVES = {
    "small": ("छोटा", "छोटे", "छोटी"), "large": ("बड़ा", "बड़े", "बड़ी"), "red": ("लाल",) * 3, "orange": ("नारंगी",) * 3,
    "yellow": ("पीला", "पीले", "पीली"), "green": ("हरा", "हरे", "हरी"), "blue": ("नीला", "नीले", "नीली"),
    "purple": ("बैंगनी",) * 3, "pink": ("गुलाबी",) * 3, "white": ("सफ़ेद",) * 3,
}  # fmt: skip
_HINDI_RELATIONS = {_LEFT: "के बाईं ओर", _ABOVE: "के ऊपर", _FRONT: "के सामने"}


def hindi(scene: Scene) -> str:
    """एक बड़े हरे पेड़ के बाईं ओर एक छोटी लाल कार है।"""

    def phrase(thing: Thing, case: int) -> str:
        *forms, gender = _HINDI_NOUNS[thing.kind]
        size, colour = (_HINDI_ADJECTIVES[word][2 if gender == "f" else case] for word in (thing.size, thing.colour))
        return f"एक {size} {colour} {forms[case]}"

    first, others = _first_and_others(scene, lambda thing: phrase(thing, 0), lambda thing: phrase(thing, 1))
    place = f"{' और '.join(others)} {_HINDI_RELATIONS[scene.relation]} " if scene.relation else ""
    return f"{place}{first} है।"


# Chinese: no spaces, a counter for each kind of thing

_CHINESE_NOUNS = {
    "house": ("座", "房子"), "tree": ("棵", "树"), "car": ("辆", "汽车"), "boat": ("艘", "船"), "fish": ("条", "鱼"),
    "cat": ("只", "猫"), "sun": ("个", "太阳"), "cloud": ("朵", "云"), "flower": ("朵", "花"),
    "umbrella": ("把", "雨伞"),
}  # fmt: skip
_CHINESE_ADJECTIVES = {
    "small": "小", "large": "大", "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色",
    "purple": "紫色", "pink": "粉色", "white": "白色",
}  # fmt: skip
_CHINESE_PLACES = {_LEFT: "左边", _ABOVE: "上方", _FRONT: "前面"}


def chinese(scene: Scene) -> str:
    """一辆红色的小汽车在一棵绿色的大树左边。"""

    def phrase(thing: Thing) -> str:
        counter, noun = _CHINESE_NOUNS[thing.kind]
        return f"一{counter}{_CHINESE_ADJECTIVES[thing.colour]}的{_CHINESE_ADJECTIVES[thing.size]}{noun}"

    first, *others = map(phrase, scene.things)
    place = f"在{'和'.join(others)}{_CHINESE_PLACES[scene.relation]}" if scene.relation else ""
    return f"{first}{place}。"


# Japanese: no spaces, what stands left, above or in front comes last

_JAPANESE_NOUNS = {
    "house": "家", "tree": "木", "car": "車", "boat": "ボート", "fish": "魚", "cat": "猫", "sun": "太陽", "cloud": "雲",
    "flower": "花", "umbrella": "傘",
}  # fmt: skip
_JAPANESE_ADJECTIVES = {
    "small": "小さな", "large": "大きな", "red": "赤い", "orange": "オレンジ色の", "yellow": "黄色い", "green": "緑の",
    "blue": "青い", "purple": "紫の", "pink": "ピンクの", "white": "白い",
}  # fmt: skip
_JAPANESE_PLACES = {_LEFT: "の左にある", _ABOVE: "の上にある", _FRONT: "の前にある"}


def japanese(scene: Scene) -> str:
    """大きな緑の木の左にある小さな赤い車"""

    def phrase(thing: Thing) -> str:
        size, colour = _JAPANESE_ADJECTIVES[thing.size], _JAPANESE_ADJECTIVES[thing.colour]
        return f"{size}{colour}{_JAPANESE_NOUNS[thing.kind]}"

    first, *others = map(phrase, scene.things)
    place = f"{'と'.join(others)}{_JAPANESE_PLACES[scene.relation]}" if scene.relation else ""
    return f"{place}{first}"


Writer = Callable[[Scene], str]

LANGUAGES: Mapping[str, Writer] = {
    "ar": arabic,
    "de": german,
    "el": greek,
    "fr": french,
    "he": hebrew,
    "hi": hindi,
    "ja": japanese,
    "ru": russian,
    "zh": chinese,
}
"""By ISO 639-1 code."""


def writer_in(language: str) -> Writer:
    """What a person writes for a scene in a language, by its code.

    Raises:
        SettingsError: there is none in that language.
    """
    if language not in LANGUAGES:
        names = ", ".join(f"{code} ({writer.__name__.title()})" for code, writer in LANGUAGES.items())
        raise SettingsError(f"There are no captions of drawn scenes in {language!r}; choose one of {names}.")
    return LANGUAGES[language]


def _first_and_others(
    scene: Scene, first: Callable[[Thing], str], other: Callable[[Thing], str]
) -> tuple[str, Sequence[str]]:
    return first(scene.things[0]), [other(thing) for thing in scene.things[1:]]


def _related(first: str, relations: Mapping[str, str], scene: Scene, others: str) -> str:
    return f"{first} {relations[scene.relation]} {others}" if scene.relation else first


def _sentence(text: str) -> str:
    return f"{_capitalised(text)}."


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
