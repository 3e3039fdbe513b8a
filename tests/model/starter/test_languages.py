"""Captions of drawn scenes in other languages: grammatical, complete, and named when there are none."""

import unicodedata
from collections.abc import Callable

import pytest

from captionloop.errors import SettingsError
from captionloop.model.starter.languages import LANGUAGES, writer_in
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, Thing
from captionloop.model.starter.styles import alt_text

LEFT, ABOVE, FRONT = "to the left of", "above", "in front of"
CAR = Thing("car", "red", "small")
TREE = Thing("tree", "green", "large")
FLOWER = Thing("flower", "pink", "small")


@pytest.mark.parametrize(
    ("language", "scene", "caption"),
    [
        ("de", Scene((CAR, TREE), LEFT), "Ein kleines rotes Auto links von einem großen grünen Baum."),
        ("de", Scene((TREE, FLOWER), ABOVE), "Ein großer grüner Baum über einer kleinen rosa Blume."),
        ("fr", Scene((CAR, TREE, FLOWER), LEFT),
         "Une petite voiture rouge à gauche d'un grand arbre vert et d'une petite fleur rose."),
        ("fr", Scene((TREE, CAR), FRONT), "Un grand arbre vert devant une petite voiture rouge."),
        ("ru", Scene((CAR, TREE), LEFT), "Маленькая красная машина слева от большого зелёного дерева"),
        ("ru", Scene((TREE, CAR), ABOVE), "Большое зелёное дерево над маленькой красной машиной"),
        ("el", Scene((CAR, Thing("sun", "yellow", "large")), LEFT),
         "Ένα μικρό κόκκινο αυτοκίνητο αριστερά από έναν μεγάλο κίτρινο ήλιο."),
        ("ar", Scene((CAR, TREE, FLOWER), LEFT), "سيارة حمراء صغيرة على يسار شجرة خضراء كبيرة وزهرة وردية صغيرة"),
        ("he", Scene((CAR, TREE, FLOWER), LEFT), "מכונית אדומה קטנה משמאל לעץ ירוק גדול ולפרח ורוד קטן"),
        ("he", Scene((TREE, FLOWER, CAR), ABOVE), "עץ ירוק גדול מעל פרח ורוד קטן ומכונית אדומה קטנה"),
        ("hi", Scene((CAR, TREE), LEFT), "एक बड़े हरे पेड़ के बाईं ओर एक छोटी लाल कार है।"),
        ("zh", Scene((CAR, TREE), LEFT), "一辆红色的小汽车在一棵绿色的大树左边。"),
        ("ja", Scene((CAR, TREE), LEFT), "大きな緑の木の左にある小さな赤い車"),
        ("ja", Scene((CAR,), None), "小さな赤い車"),
    ],
)  # fmt: skip
def test_a_caption_is_what_a_native_would_write(language: str, scene: Scene, caption: str) -> None:
    assert LANGUAGES[language](scene) == caption


@pytest.mark.parametrize("writer", LANGUAGES.values(), ids=LANGUAGES)
def test_different_scenes_have_different_captions_in_one_script(writer: Callable[[Scene], str]) -> None:
    scenes = [example("languages", index)[0] for index in range(300)]
    assert len(set(map(writer, scenes))) == len(set(map(alt_text, scenes)))
    texts = [writer(scene) for scene in scenes]
    assert texts == [unicodedata.normalize("NFC", text) for text in texts]


def test_a_language_without_captions_is_named_with_those_that_have_some() -> None:
    with pytest.raises(
        SettingsError, match=r"in 'tlh'; choose one of ar \(Arabic\), de \(German\), .*, zh \(Chinese\)"
    ):
        writer_in("tlh")
