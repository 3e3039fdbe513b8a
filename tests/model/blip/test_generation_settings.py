"""The settings that belong to a version: what they may be, how they are stored, how they follow the corrections."""

import json
from typing import Any

import pytest

from captionloop.errors import CheckpointError
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captions.orthography import Writing


def test_the_defaults_are_those_of_blip() -> None:
    assert GenerationSettings().to_dict() == {
        "num_beams": 3,
        "min_length": 5,
        "max_length": 20,
        "prompt": "",
        "repetition_penalty": 1.0,
        "writing": Writing().to_dict(),
    }


def test_stored_settings_are_read_back() -> None:
    settings = GenerationSettings(num_beams=1, min_length=2, max_length=40, prompt="a photo of", repetition_penalty=1.2)
    assert GenerationSettings.from_dict(settings.to_dict()) == settings


def test_stored_styles_are_read_back_and_a_model_without_any_stores_nothing_of_them() -> None:
    styles = {"British": TaughtStyle("[style1]", Writing(case="title", words={"uk": "UK"}))}
    settings = GenerationSettings(styles=styles, style="British")
    assert GenerationSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert {"styles", "style"}.isdisjoint(GenerationSettings().to_dict())


def test_the_prompt_of_a_style_is_its_token_and_the_prompt_of_all() -> None:
    styles = {"British": TaughtStyle("[style1]")}
    assert GenerationSettings(styles=styles, style="British").plain_prompt == "[style1]"
    assert GenerationSettings(styles=styles, style="British", prompt="a photo of").plain_prompt == "[style1] a photo of"
    assert GenerationSettings(styles=styles, prompt="a photo of").plain_prompt == "a photo of"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"style": "British"}, "style is 'British'; expected none, as the model was taught no style with a name"),
        ({"styles": ["British"]}, r"styles is \['British'\]; expected style settings by the name of the style"),
        ({"styles": {"British": "[style1]"}}, "expected style settings by the name of the style"),
        ({"styles": {"British": {}}}, "There is no style setting token; expected a text"),
        ({"styles": {"British": {"token": 1}}}, "Style setting token is 1; expected a text"),
        ({"styles": {"British": {"token": "[style1]", "case": "title"}}}, "Unknown style setting case"),
    ],
)
def test_damaged_styles_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        GenerationSettings.from_dict(values)


def test_a_setting_that_was_not_stored_has_its_default() -> None:
    assert GenerationSettings.from_dict({"max_length": 30}) == GenerationSettings(max_length=30)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(CheckpointError, match="Unknown generation setting beams; known are num_beams,"):
        GenerationSettings.from_dict({"beams": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0; expected a whole number from 1 to 64"),
        ({"num_beams": 2.5}, "num_beams is 2.5"),
        ({"num_beams": True}, "num_beams is True"),
        ({"min_length": -1}, "min_length is -1"),
        ({"max_length": 2}, "max_length is 2; expected a whole number from 3 to 512"),
        ({"max_length": 513}, "max_length is 513"),
        ({"min_length": 21}, r"min_length is 21; expected at most max_length \(20\)"),
        ({"prompt": None}, "prompt is None; expected a text"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; expected a number above 0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"repetition_penalty": "1"}, "repetition_penalty is '1'"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        GenerationSettings(**values)


def test_longer_corrections_raise_the_upper_length_with_an_eighth_to_spare() -> None:
    assert GenerationSettings().following([10, 40]).max_length == 40 + 5 + 2


def test_shorter_corrections_lower_the_lower_length_so_that_they_can_be_written() -> None:
    assert GenerationSettings().following([2, 10]).min_length == 3


def test_ordinary_corrections_leave_the_lengths_as_they_are() -> None:
    assert GenerationSettings().following([6, 8, 12]) == GenerationSettings()


def test_the_prompt_counts_as_well() -> None:
    settings = GenerationSettings(prompt="a photo of").following([2, 16], prompt_pieces=3)
    assert (settings.min_length, settings.max_length) == (5, 3 + 16 + 2 + 2)


def test_the_lengths_never_shrink_the_range_nor_pass_the_models_positions() -> None:
    settings = GenerationSettings(min_length=0, max_length=60)
    assert settings.following([8]) == settings
    assert settings.following([1000], most=77).max_length == 77


def test_without_corrections_nothing_changes() -> None:
    assert GenerationSettings().following([]) == GenerationSettings()
