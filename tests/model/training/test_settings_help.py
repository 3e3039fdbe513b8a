"""The form of a run is made of the settings themselves."""

from dataclasses import fields

from captionloop.model.training.settings import SCHEDULES, FinetuneSettings
from captionloop.model.training.settings_help import described_settings, read_form


def test_every_setting_is_described_once_with_its_default() -> None:
    described = [setting for group in described_settings() for setting in group.settings]
    assert sorted(setting.name for setting in described) == sorted(item.name for item in fields(FinetuneSettings))
    assert [setting.name for setting in described if not setting.help or not setting.default] == []


def test_choices_and_defaults_are_those_of_the_class() -> None:
    by_name = {setting.name: setting for group in described_settings() for setting in group.settings}
    assert (by_name["schedule"].choices, by_name["schedule"].default) == (SCHEDULES, "cosine")
    assert (by_name["augment"].choices, by_name["augment"].default) == (("true", "false"), "true")
    assert (by_name["weight_decay"].choices, by_name["weight_decay"].default) == ((), "0.05")
    assert by_name["steps"].default == "by the number of corrections"


def test_explanations_hold_no_code() -> None:
    assert [s.help for group in described_settings() for s in group.settings if "`" in s.help or "None" in s.help] == []


def test_each_wrong_value_is_named_and_the_others_are_kept() -> None:
    values, problems = read_form({"steps": "many", "way": "lora", "dropout": "2", "ema": " ", "seed": "3"})
    assert values == {"way": "lora", "seed": 3}
    assert problems == {
        "steps": "Fine-tuning setting steps is 'many'; expected a whole number above 0.",
        "dropout": "Fine-tuning setting dropout is 2.0; expected a number from 0 to below 1.",
    }
