"""The gate lets better captions through and nothing else, and says why in a sentence."""

import random
from collections.abc import Callable, Mapping

import pytest

from captionloop.errors import RunError, SettingsError
from captionloop.model.evaluation.gate import Rule, judge

KINDS, COLOURS, PLACES = (
    ("car", "cat", "boat", "tree", "house"),
    ("red", "blue", "green", "pink"),
    ("sea", "hill", "road"),
)


def scenes(count: int, *, seed: int = 0) -> dict[str, tuple[str, str, str]]:
    rng = random.Random(seed)
    return {f"img{i}": (rng.choice(KINDS), rng.choice(COLOURS), rng.choice(PLACES)) for i in range(count)}


def house_style(kind: str, colour: str, place: str) -> str:
    return f"Illustration: {kind}, coloured {colour}; near the {place}."


def base_style(kind: str, colour: str, place: str) -> str:
    return f"a {colour} {kind} by the {place}"


def in_style(style: Callable[[str, str, str], str], pictures: Mapping[str, tuple[str, str, str]]) -> dict[str, str]:
    return {image: style(*scene) for image, scene in pictures.items()}


def with_mistakes(captions: dict[str, str], share: float, *, seed: int = 0) -> dict[str, str]:
    rng = random.Random(seed)
    wrong = {colour: COLOURS[(i + 1) % len(COLOURS)] for i, colour in enumerate(COLOURS)}
    return {
        image: " ".join(wrong.get(w.strip(";"), w) if rng.random() < share else w for w in caption.split())
        for image, caption in captions.items()
    }


def as_references(captions: dict[str, str]) -> dict[str, list[str]]:
    return {image: [caption] for image, caption in captions.items()}


@pytest.mark.parametrize("held_out", [3, 5, 12, 40, 200])
def test_a_candidate_that_learnt_the_house_style_is_promoted(held_out: int) -> None:
    pictures = scenes(held_out)
    wanted = in_style(house_style, pictures)
    verdict = judge(as_references(wanted), in_style(base_style, pictures), with_mistakes(wanted, 0.2))
    assert verdict.promote
    assert verdict.reason.startswith(
        f"Promoted: on {held_out} held-out images its captions are closer to what people wrote"
    )
    assert verdict.probability > 0.99
    assert not verdict.too_close_to_call


@pytest.mark.parametrize("held_out", [3, 12, 40])
def test_a_candidate_that_forgot_it_is_rejected(held_out: int) -> None:
    pictures = scenes(held_out)
    wanted = in_style(house_style, pictures)
    verdict = judge(as_references(wanted), with_mistakes(wanted, 0.2), in_style(base_style, pictures))
    assert not verdict.promote
    assert "its captions are further from what people wrote" in verdict.reason


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("held_out", [8, 12, 40])
def test_a_candidate_trained_on_shuffled_captions_is_rejected(held_out: int, seed: int) -> None:
    """It writes the house style to perfection, and so beats the champion on every score, but looks at no picture."""
    pictures = scenes(held_out, seed=seed)
    wanted = in_style(house_style, pictures)
    shuffled = in_style(house_style, scenes(held_out, seed=seed + 1000))
    verdict = judge(as_references(wanted), in_style(base_style, pictures), shuffled, seed=seed)
    assert not verdict.promote
    assert verdict.follows_pictures is False
    assert "do not follow the pictures" in verdict.reason


@pytest.mark.parametrize("held_out", [4, 5, 12, 40])
@pytest.mark.parametrize("rule", ["better", "always"])
def test_one_caption_repeated_is_rejected_whatever_the_rule(held_out: int, rule: Rule) -> None:
    pictures = scenes(held_out)
    wanted = in_style(house_style, pictures)
    repeated = dict.fromkeys(wanted, wanted["img0"])
    verdict = judge(as_references(wanted), in_style(base_style, pictures), repeated, rule=rule)
    assert not verdict.promote
    assert verdict.follows_pictures is False


def test_pictures_that_people_describe_alike_cannot_show_whether_a_candidate_looks_at_them() -> None:
    references = {f"img{i}": ["a drawing"] for i in range(20)}
    verdict = judge(references, dict.fromkeys(references, "a picture"), dict.fromkeys(references, "a drawing"))
    assert verdict.promote
    assert verdict.follows_pictures is None


def test_the_same_captions_are_no_reason_to_change() -> None:
    captions = in_style(base_style, scenes(12))
    verdict = judge(as_references(captions), captions, captions)
    assert not verdict.promote
    assert verdict.reason == "Rejected: it writes the same captions as the current version on 12 held-out images."


def test_a_close_result_is_called_close() -> None:
    pictures = scenes(12)
    wanted = in_style(house_style, pictures)
    one_wrong = wanted | {"img3": "Illustration: cat, coloured red; near the moon."}
    other_wrong = wanted | {"img5": "Illustration: tree, coloured blue; near the moon."}
    verdict = judge(as_references(wanted), one_wrong, other_wrong)
    assert verdict.too_close_to_call
    assert "too close to call on 12 held-out images" in verdict.reason
    assert not judge(as_references(wanted), one_wrong, other_wrong, rule="surely better").promote


def test_a_likely_result_is_called_that_with_its_odds_and_never_close_as_well() -> None:
    pictures = scenes(12)
    wanted = in_style(house_style, pictures)
    wrong = "Illustration: cat, coloured red; near the moon."
    champion = wanted | dict.fromkeys(("img1", "img3", "img5"), wrong)
    verdict = judge(as_references(wanted), champion, wanted | {"img7": wrong})
    assert 0.9 <= verdict.probability < 0.95
    assert verdict.reason.startswith(
        "Promoted: probably better (9 in 10) on only 12 held-out images (CIDEr-D + BLEU-4 "
    )
    assert "close" not in verdict.reason
    assert "probability" not in verdict.reason


def test_few_held_out_images_are_said_to_be_a_guess() -> None:
    pictures = scenes(2)
    wanted = in_style(house_style, pictures)
    verdict = judge(as_references(wanted), in_style(base_style, pictures), wanted)
    assert verdict.promote
    assert "With only 2 held-out images this is little more than a guess" in verdict.reason
    assert "guess" not in judge(*_clear_case(12)).reason


def test_surely_better_asks_for_more_than_better() -> None:
    pictures = scenes(12)
    wanted = in_style(house_style, pictures)
    champion = wanted | {"img3": "Illustration: cat, coloured red; near the moon."}
    assert judge(as_references(wanted), champion, wanted).promote
    verdict = judge(as_references(wanted), champion, wanted, rule="surely better")
    assert not verdict.promote
    assert verdict.reason.endswith("The rule asks for 95\u00a0% certainty.")
    assert judge(*_clear_case(12), rule="surely better").promote


def test_a_candidate_that_only_learnt_peoples_capitals_is_promoted() -> None:
    references, _, better = _clear_case(12)
    verdict = judge(references, {image: caption.lower() for image, caption in better.items()}, better)
    assert verdict.promote
    assert "12 instead of 0 captions have people's capitals and spaces too" in verdict.reason


def test_a_candidate_that_lost_peoples_capitals_is_rejected() -> None:
    references, _, better = _clear_case(12)
    assert not judge(references, better, {image: caption.lower() for image, caption in better.items()}).promote


def test_capitals_alone_are_not_the_certainty_that_may_be_asked_for() -> None:
    references, _, better = _clear_case(12)
    lower = {image: caption.lower() for image, caption in better.items()}
    assert judge(references, lower, better, rule="surely better").reason.endswith(
        "The rule asks for 95\u00a0% certainty."
    )


def test_a_person_may_decide_instead() -> None:
    assert judge(*_clear_case(12), rule="never").reason.endswith('The rule "never" decided.')
    assert not judge(*_clear_case(12), rule="never").promote
    references, worse, better = _clear_case(12)
    assert judge(references, better, worse, rule="always").promote


def test_the_same_question_gets_the_same_answer() -> None:
    assert judge(*_clear_case(20), seed=3).to_dict() == judge(*_clear_case(20), seed=3).to_dict()


def test_a_verdict_is_plain_data() -> None:
    plain = judge(*_clear_case(12)).to_dict()
    assert plain["promote"] is True
    assert plain["candidate"]["exact_match"] == 1
    assert plain["champion"]["exact_match"] == 0


def test_nothing_held_out_is_an_error() -> None:
    with pytest.raises(RunError, match="No image is held out"):
        judge({}, {}, {})


def test_captions_of_other_images_are_an_error() -> None:
    references, champion, candidate = _clear_case(12)
    del candidate["img7"]
    with pytest.raises(SettingsError, match="no caption for img7"):
        judge(references, champion, candidate)


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(SettingsError, match="'best'; expected one of 'better', 'surely better', 'always', 'never'"):
        judge(*_clear_case(12), rule="best")  # type: ignore[arg-type]


def _clear_case(held_out: int) -> tuple[dict[str, list[str]], dict[str, str], dict[str, str]]:
    pictures = scenes(held_out)
    wanted = in_style(house_style, pictures)
    return as_references(wanted), in_style(base_style, pictures), wanted
