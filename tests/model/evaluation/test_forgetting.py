"""A candidate that forgot a style which people still want is not promoted, and what became of each is said."""

import json

from tests.model.evaluation.test_gate import as_references, base_style, house_style, in_style, scenes, with_mistakes

from captionloop.model.evaluation.forgetting import EarlierStyle, earlier_style, not_forgetting
from captionloop.model.evaluation.gate import Verdict, judge


def promoted() -> Verdict:
    pictures = scenes(20)
    wanted = in_style(house_style, pictures)
    return judge(as_references(wanted), in_style(base_style, pictures), wanted)


def of_old_style(images: int, *, champion: float, candidate: float) -> EarlierStyle:
    """The old style, in which each makes mistakes in this share of its words."""
    wanted = in_style(base_style, scenes(images, seed=1))
    written = [with_mistakes(wanted, share, seed=seed) for seed, share in enumerate((champion, candidate))]
    references = as_references(wanted)
    return earlier_style("old", references, *written, corpus=list(references.values()))


def test_a_candidate_that_kept_the_old_style_is_promoted() -> None:
    verdict = not_forgetting(promoted(), [of_old_style(20, champion=0.0, candidate=0.0)], rule="better")
    assert verdict.promote
    assert verdict.reason.startswith("Promoted: ")
    assert verdict.reason.endswith("Earlier styles: in the style 'old' 20 instead of 20 of 20 exact.")


def test_a_candidate_that_forgot_the_old_style_is_not() -> None:
    verdict = not_forgetting(promoted(), [of_old_style(20, champion=0.0, candidate=1.0)], rule="better")
    assert not verdict.promote
    assert verdict.reason.startswith("Rejected for what it forgot: on 20 held-out images its captions are closer")
    assert "Forgotten: in the style 'old' 0 instead of 20 of 20 exact" in verdict.reason


def test_a_difference_that_may_be_chance_is_no_forgetting() -> None:
    earlier = of_old_style(20, champion=0.05, candidate=0.05)
    assert not earlier.is_forgotten
    assert not_forgetting(promoted(), [earlier], rule="better").promote


def test_the_rule_always_promotes_all_the_same_and_says_what_was_forgotten() -> None:
    verdict = not_forgetting(promoted(), [of_old_style(20, champion=0.0, candidate=1.0)], rule="always")
    assert verdict.promote
    assert "Forgotten: " in verdict.reason


def test_few_images_are_said_to_be_few() -> None:
    assert str(of_old_style(3, champion=0.0, candidate=0.0)).endswith("3 of 3 exact, too few to tell")


def test_a_rejected_candidate_stays_rejected() -> None:
    pictures = scenes(20)
    wanted = in_style(house_style, pictures)
    worse = judge(as_references(wanted), wanted, in_style(base_style, pictures))
    verdict = not_forgetting(worse, [of_old_style(20, champion=1.0, candidate=0.0)], rule="better")
    assert not verdict.promote
    assert verdict.reason.startswith("Rejected: ")


def test_without_earlier_styles_nothing_is_said_of_them() -> None:
    verdict = promoted()
    assert not_forgetting(verdict, [], rule="better") is verdict
    assert "earlier_styles" not in verdict.to_dict()


def test_the_figures_are_plain_data() -> None:
    verdict = not_forgetting(promoted(), [of_old_style(20, champion=0.0, candidate=1.0)], rule="better")
    (earlier,) = json.loads(json.dumps(verdict.to_dict()))["earlier_styles"]
    assert (earlier["style"], earlier["images"], earlier["is_forgotten"]) == ("old", 20, True)
    assert earlier["exactly_right"] == [20, 0]


def test_the_style_without_a_name_is_called_so() -> None:
    wanted = in_style(base_style, scenes(20))
    references = as_references(wanted)
    found = earlier_style(None, references, wanted, wanted, corpus=list(references.values()))
    assert str(found) == "in the style without a name 20 instead of 20 of 20 exact"
