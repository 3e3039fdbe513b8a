"""Attention per word: valid maps, the served captions, and roughly the object that a word names."""

import random

import numpy as np
import pytest
from tests.model.captioning.test_captioner import BEAMS, GREEDY, IMAGES, load

from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.word_regions import WordRegions, word_regions
from captionloop.model.captions.orthography import Writing
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.drawing import Position, layout
from captionloop.model.starter.scenes import caption, draw, random_scene

SCENES = 24


@pytest.fixture(scope="module")
def starter() -> Captioner:
    return load(STARTER_DIR)


@pytest.fixture(scope="module")
def looked(starter: Captioner) -> WordRegions:
    return word_regions(starter, draw(random_scene(random.Random(3)), seed=3))


def share_inside(attention: np.ndarray, place: Position) -> tuple[float, float]:
    """How much of the attention lies in a thing's box, and how much of the picture does."""
    rows, columns = attention.shape
    inside_y = abs((np.arange(rows) + 0.5) / rows - place.y) <= place.radius
    inside_x = abs((np.arange(columns) + 0.5) / columns - place.x) <= place.radius
    box = inside_y[:, None] & inside_x[None, :]
    return float(attention[box].sum()), float(box.mean())


def test_each_word_has_a_distribution_over_the_patches(looked: WordRegions) -> None:
    for word in looked.words:
        assert word.attention.shape == (8, 8)
        assert word.attention.dtype == np.float32
        assert word.attention.min() >= 0
        assert word.attention.sum() == pytest.approx(1, abs=1e-5)


def test_the_words_are_the_caption(looked: WordRegions) -> None:
    joined = "".join((" " if word.follows_space else "") + word.text for word in looked.words)
    assert joined == looked.beams[0].caption


@pytest.mark.parametrize("generation", [BEAMS, GREEDY])
def test_the_first_beam_is_what_is_served_before_and_after(generation: GenerationSettings) -> None:
    captioner = load(STARTER_DIR, generation)
    picture = draw(random_scene(random.Random(5)), seed=5)
    before = captioner.caption([picture])

    shown = word_regions(captioner, picture)

    assert shown.beams[0].caption == before[0].caption
    assert shown.beams[0].score == pytest.approx(before[0].score, abs=1e-5)
    assert len(shown.beams) == generation.num_beams
    assert captioner.caption([picture]) == before


def test_reading_the_caption_again_gives_the_probabilities_it_was_written_with(starter: Captioner) -> None:
    picture = draw(random_scene(random.Random(7)), seed=7)
    shown = word_regions(starter, picture)
    assert [word.pieces for word in shown.words] == [1] * len(shown.words)

    # The score is the mean over the words and the end token, whose probability lies between 0 and 1.
    total = shown.beams[0].score * (len(shown.words) + 1)
    assert 0 <= total - sum(word.probability for word in shown.words) <= 1


def test_pieces_become_words_and_words_are_written_as_people_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.model.captioning.published_layout import write_base

    generation = GenerationSettings(num_beams=1, min_length=8, max_length=12, writing=Writing(case="upper"))
    captioner = load(write_base(tmp_path_factory.mktemp("pieces") / "base"), generation)

    for image in IMAGES[:4]:
        shown = word_regions(captioner, image)
        joined = "".join((" " if word.follows_space else "") + word.text for word in shown.words)
        assert joined == shown.beams[0].caption == shown.beams[0].caption.upper()


@pytest.mark.slow
def test_a_word_for_a_thing_looks_at_its_place(starter: Captioner) -> None:
    """Mean share of attention in the thing's box, over all named things: well above the box's share of the picture."""
    rng = random.Random(11)
    found = []
    for seed in range(SCENES):
        scene = random_scene(rng)
        shown = word_regions(starter, draw(scene, seed=seed))
        if shown.beams[0].caption != caption(scene):
            continue
        for thing, place in zip(scene.things, layout(scene, seed=seed), strict=True):
            [word] = [word for word in shown.words if word.text == thing.kind]
            found.append(share_inside(word.attention, place))

    inside, chance = np.mean(found, axis=0)
    assert len(found) > SCENES
    assert inside > 4 * chance
