"""The fine-tuning settings for a form, with help texts from the docstring of `FinetuneSettings`."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from captionloop.errors import SettingsError
from captionloop.model.training.settings import FinetuneSettings, read_pairs

OTHER = "Other"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "What is trained": ("way", "lora_rank", "lora_parts"),
    "Rate and schedule": ("learning_rate", "schedule", "warmup_share", "layer_decay"),
    "Size": ("steps", "batch_size"),
    "Regularisation": ("weight_decay", "label_smoothing", "dropout", "max_gradient_norm", "ema"),
    "Data and validation": ("validation_share", "patience", "replay", "augment", "prompt", "seed"),
    "Memory": ("micro_batch_size", "gradient_checkpointing"),
}
# Shown as the default of settings that are chosen automatically.
_CHOSEN = {
    "learning_rate": "by way and width",
    "steps": "by the number of corrections",
    "micro_batch_size": "all of a step; fewer where a CPU trains the encoder",
    "prompt": "the champion's",
}


@dataclass(frozen=True)
class Setting:
    """A setting.

    Args:
        name: the field's.
        help: one sentence or two.
        default: as people type it; a description where it is chosen automatically.
        choices: the allowed values; empty for numbers and free text.
    """

    name: str
    help: str
    default: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Settings that belong together."""

    title: str
    settings: tuple[Setting, ...]


def described_settings() -> tuple[Group, ...]:
    """All settings by group; those in no group come last, under "Other"."""
    help_texts, types = _help_texts(), get_type_hints(FinetuneSettings)
    settings = {
        item.name: Setting(
            item.name, help_texts.get(item.name, ""), _default(item.name, item.default), _choices(types[item.name])
        )
        for item in fields(FinetuneSettings)
    }
    named = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, OTHER: tuple(name for name in settings if name not in named)}
    found = [
        Group(title, tuple(settings[name] for name in names if name in settings)) for title, names in groups.items()
    ]
    return tuple(group for group in found if group.settings)


def read_form(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Parse and validate each field; empty ones are not set.

    Returns:
        The valid settings, and the error message of each other one.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, text in texts.items():
        if not text.strip():
            continue
        try:
            value = read_pairs([f"{name}={text}"])
            FinetuneSettings.from_dict(value)
            values |= value
        except SettingsError as error:
            problems[name] = str(error)
    return values, problems


def as_typed(value: object) -> str:
    """A setting's value as people type it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _help_texts() -> dict[str, str]:
    """The entries under "Args:" in the docstring, each with its lines joined."""
    arguments = inspect.cleandoc(FinetuneSettings.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", arguments, re.MULTILINE)
    return {name: _sentence(" ".join(text.split())) for name, text in entries}


def _sentence(text: str) -> str:
    """Capitalised, without references to code, and with "empty" in place of None."""
    plain = re.sub(r" \([^()]*`[^()]*\)", "", text).replace("None ", "empty ")
    return plain[0].upper() + plain[1:]


def _default(name: str, value: object) -> str:
    if value is None or value == "":
        return _CHOSEN.get(name, "chosen by the run")
    return as_typed(value)


def _choices(kind: Any) -> tuple[str, ...]:
    if kind is bool:
        return ("true", "false")
    return get_args(kind) if get_origin(kind) is Literal else ()
