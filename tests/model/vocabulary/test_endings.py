"""Words are cut into a stem and an ending where both are met elsewhere."""

from captionloop.model.vocabulary.endings import stems_and_endings

GERMAN = [
    "rote", "roter", "rotes", "gelbe", "gelber", "gelben", "blaue", "blauen", "blauer", "blaues", "grünes", "grüne",
    "grünen", "haus", "baum",
]  # fmt: skip


def test_what_bends_alike_is_cut_alike() -> None:
    cuts = stems_and_endings(GERMAN)
    assert {cuts["rotes"], cuts["gelbe"], cuts["blauen"]} == {("rote", "s"), ("gelbe", ""), ("blaue", "n")}


def test_words_that_merely_begin_or_end_alike_stay_whole() -> None:
    cuts = stems_and_endings([*GERMAN, "kaum", "haut", "blume", "blick"])
    assert not {"haus", "baum", "kaum", "haut", "blume", "blick"} & cuts.keys()


def test_all_forms_of_a_word_have_one_stem_however_rare_their_endings() -> None:
    """Cut where each ending is common by itself, "маленькая" and "маленьким" were a different word to the model."""
    russian = [
        "маленькая", "маленькое", "маленького", "маленькой", "маленьким", "маленький", "большая", "большое", "большой",
        "большим", "красная", "красное", "красного", "красной", "красным", "оранжевая", "оранжевое", "оранжевый",
        "синяя", "синее", "синий", "синей", "синим", "дом", "домом", "дома", "зонт", "зонтом", "зонта", "облако",
        "облака", "облаком", "солнце", "солнца",
    ]  # fmt: skip
    cuts = stems_and_endings(russian)
    stems = ["маленьк", "больш", "красн", "оранжев", "син", "дом", "зонт", "облак", "солнц"]
    assert {cuts[word][0] for word in russian} == set(stems)


def test_an_ending_of_few_stems_is_a_coincidence() -> None:
    assert stems_and_endings(["rote", "roter", "gelbe", "gelber"]) == {}


def test_a_stem_is_never_a_letter_or_two() -> None:
    assert stems_and_endings(["un", "une", "du", "due", "su", "sue"]) == {}


def test_it_does_not_matter_in_which_order_the_words_come() -> None:
    assert stems_and_endings(GERMAN[::-1]) == stems_and_endings(GERMAN)


def test_no_words_have_no_cuts() -> None:
    assert stems_and_endings([]) == {}
