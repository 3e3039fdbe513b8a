"""A change of manner is said with what changed, where it began and how often; what is no change is not said."""

from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from benchmarks.style_changes import History
from tests.support.corrections import correct
from tests.support.models import add_project

from captionloop.model.database import Database, utc_now
from captionloop.model.dataset.styles import begin_style
from captionloop.model.progress.style_changes import Habit, Pair, StyleChange, changes_of, style_changes
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import Scene, caption
from captionloop.model.starter.styles import STYLES

Manner = Callable[[Scene], str]


def careful(number: int, rng: Any) -> bool:
    return False


def changes(before: Manner, after: Manner, *, of_new: int = 15, seed: int = 0) -> dict[Habit, StyleChange]:
    """What is said when so many corrections are in the new manner, after 120 in the old one."""
    pairs = list(islice(History((before, after), careful, seed).pairs(), 120 + of_new))
    return {change.habit: change for change in style_changes(pairs)}


def said(before: Manner, after: Manner, **options: Any) -> list[str]:
    return [str(change) for change in changes(before, after, **options).values()]


def test_another_word_for_the_same_is_named_with_its_times() -> None:
    found = changes(caption, lambda scene: caption(scene).replace("large", "gigantic"))
    change = found[Habit("word", "large", "gigantic")]
    assert change.times == change.possible >= 5
    assert str(change) == f"'large' is written 'gigantic', {change.times} of {change.times} times"
    assert change.first.number >= 120
    assert "gigantic" in change.first.caption
    assert list(found) == [change.habit]


def test_another_opening() -> None:
    """It was possible in the 14 suggestions that the champion, which errs, began with "a"."""
    found = changes(caption, STYLES["met_words"])[Habit("opening", "a", "one")]
    assert str(found) == "captions begin with 'one' instead of 'a', 14 of 14 times"


def test_capitals_and_the_end() -> None:
    found = said(caption, lambda scene: f"{caption(scene).capitalize()}.")
    assert "capitals are those of a sentence instead of none, 15 of 15 times" in found
    assert "captions end with . instead of no mark, 15 of 15 times" in found


def test_another_order() -> None:
    found = said(caption, lambda scene: " ".join(reversed(caption(scene).split())))
    assert any(text.startswith("the same words come in another order") for text in found)


def test_longer_captions() -> None:
    found = said(caption, lambda scene: f"{caption(scene)} on a {scene.background} ground")
    assert "captions are 3 words longer or more, 15 of 15 times" in found


def test_in_a_script_without_spaces() -> None:
    found = said(lambda scene: f"图片{len(scene.things)}个东西", lambda scene: f"照片{len(scene.things)}个东西")
    assert any("照" in text for text in found)


@pytest.mark.parametrize("seed", range(3))
def test_a_manner_that_stays_is_no_change(seed: int) -> None:
    """Not when a base model writes otherwise from the beginning on, nor when a champion has learnt it."""
    pairs = list(History((STYLES["alt_text"], STYLES["alt_text"]), careful, seed).pairs())
    assert [style_changes(pairs[:count]) for count in range(10, 201, 10)] == [[]] * 20


def test_three_times_are_too_few_to_be_said() -> None:
    assert said(caption, STYLES["met_words"], of_new=2) == []


def test_a_change_that_the_champion_has_learnt_is_not_said_any_more() -> None:
    pairs = list(islice(History((caption, STYLES["met_words"]), careful, 0).pairs(), 140))
    learnt = [Pair(number, pair.caption, pair.caption) for number, pair in enumerate(pairs[-20:], start=140)]
    assert style_changes(pairs) != []
    assert style_changes([*pairs, *learnt]) == []


def test_a_change_is_said_although_the_champion_is_new() -> None:
    """The first one wrote as no person did, and the second one as people did until they changed their manner."""
    scenes = [example("a new champion", number)[0] for number in range(80)]
    first = [Pair(number, caption(scene), STYLES["alt_text"](scene)) for number, scene in enumerate(scenes[:60])]
    then = [
        Pair(number, STYLES["alt_text"](scene), STYLES["met_words"](scene))
        for number, scene in enumerate(scenes[60:], start=60)
    ]
    assert style_changes(first) == []
    asked = (style_changes([*first, *then[:count]]) for count in range(1, 20))
    found = next(changes for changes in asked if changes)
    assert "captions begin with 'one' instead of 'illustration:'" in {str(change.habit) for change in found}
    assert min(change.first.number for change in found) == 60


def test_a_champion_that_gets_something_wrong_is_no_change_of_people() -> None:
    right = [Pair(number, "a red car and a blue boat", "a red car and a blue boat") for number in range(60)]
    wrong = [Pair(number, "a red car and a red boat", "a red car and a blue boat") for number in range(60, 80)]
    assert style_changes([*right, *wrong]) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("manner", [caption, STYLES["alt_text"]])
def test_kinds_of_things_that_are_new_are_no_change(manner: Manner, seed: int) -> None:
    """The champion takes them for others, whose words people go on writing for those."""
    new = {"boat": "car", "cat": "fish"}
    pairs = list(History((manner, manner), careful, seed, new).pairs())
    assert [style_changes(pairs[:count]) for count in range(125, 201, 5)] == [[]] * 16


def test_words_for_kinds_that_change_together_are_said_before_the_twentieth_caption() -> None:
    words = {"car": "automobile", "boat": "ship", "cat": "kitten", "tree": "oak", "sun": "sunshine", "house": "villa"}

    def changed(scene: Scene) -> str:
        return " ".join(words.get(word, word) for word in caption(scene).split())

    assert any("is written" in text for text in said(caption, changed, of_new=19))


def test_a_word_for_one_of_many_kinds_is_said_once_people_have_given_up_the_old_one() -> None:
    """It takes until the old word would have come often enough: here in one caption of six."""

    def changed(scene: Scene) -> str:
        return caption(scene).replace("car", "automobile")

    assert said(caption, changed, of_new=8) == []
    assert any(text.startswith("'car' is written 'automobile'") for text in said(caption, changed, of_new=60))


def test_nothing_is_said_of_nothing() -> None:
    assert style_changes([]) == []
    assert style_changes([Pair(number, "", "") for number in range(30)]) == []


def test_only_the_current_style_is_looked_at(database: Database) -> None:
    """Corrections that somebody put into a style have been said."""
    project, begin = add_project(database), utc_now() - timedelta(days=1)
    for number, pair in enumerate(islice(History((caption, STYLES["met_words"]), careful, 0).pairs(), 135)):
        at = begin + timedelta(seconds=number)
        correct(database, project, version="v1", suggestion=pair.suggestion, caption=pair.caption, at=at)
    with database.session() as session:
        (first, *_) = changes_of(session, project.id)
        assert first.first.caption.startswith("one ")
        begin_style(session, project.id, "other words", since=begin + timedelta(seconds=120))
        assert changes_of(session, project.id) == []
