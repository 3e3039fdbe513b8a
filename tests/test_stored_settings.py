"""Settings that are stored as JSON, in the database and in manifests: what an earlier release stored is read."""

import json
from typing import Any

import pytest

from captionloop.errors import CheckpointError, SettingsError
from captionloop.jobs.queue.annotate_settings import AnnotateSettings
from captionloop.model.active_learning.project_settings import ProjectSettings
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captions.neighbours import Neighbours
from captionloop.model.captions.orthography import Writing
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.training.settings import FinetuneSettings

WRITING = """{
    "case": "sentence", "words": {"london": "London"}, "openings": {"alt": "ALT"}, "spacing": {"-": [false, false]},
    "words_by_neighbours": {
        "both": {"american sign language": "Sign"}, "before": {"american sign": "Sign"},
        "after": {"sign language": "Sign"}
    },
    "spacing_by_neighbours": {
        "both": {"qu ' il": [true, true]}, "before": {"qu '": [true, true]}, "after": {"' il": [true, false]}
    },
    "endings": ["ung", "heit"]
}"""
# Every class with every field, each with another value than its default, as `to_dict` gave it to JSON.
STORED = {
    FinetuneSettings: """{
        "way": "lora", "learning_rate": 0.0003, "schedule": "linear", "steps": 300, "batch_size": 8,
        "micro_batch_size": 4, "weight_decay": 0.01, "warmup_share": 0.2, "layer_decay": 0.9, "max_gradient_norm": 2.0,
        "label_smoothing": 0.0, "dropout": 0.0, "ema": 0.99, "validation_share": 0.1, "patience": 5, "replay": 0.5,
        "augment": false, "lora_rank": 8, "lora_parts": "decoder", "gradient_checkpointing": true,
        "prompt": "a photo of", "seed": 7
    }""",
    GenerationSettings: f"""{{
        "num_beams": 1, "min_length": 2, "max_length": 40, "prompt": "a photo of", "repetition_penalty": 1.2,
        "writing": {WRITING}
    }}""",
    Writing: WRITING,
    SearchSpace: """{
        "ways": ["decoder", "lora"], "schedules": ["cosine"], "rates": [0.0001, 0.01], "fixed": {"steps": 7}
    }""",
    ProjectSettings: """{
        "order": "view", "strategy": "random", "random_share": 0.2, "earlier_suggestions": 0, "train_after": 50,
        "train_below": 0.7, "train_window": 20, "train_at": "03:00", "time_zone": "Europe/Berlin",
        "other_boxes": ["alt"], "empty_boxes": "caption"
    }""",
    AnnotateSettings: """{"only_missing": true, "limit": 5}""",
}
CLASSES = list(STORED)
UNKNOWN = {
    FinetuneSettings: "Unknown fine-tuning setting colour; known are way, learning_rate,",
    GenerationSettings: "Unknown generation setting colour; known are num_beams, min_length,",
    Writing: "Unknown writing setting colour; known are case, words,",
    SearchSpace: "Unknown sweep setting colour; known are ways, schedules, rates, fixed.",
    ProjectSettings: "Unknown project setting colour; known are order, strategy,",
    AnnotateSettings: "Unknown captioning setting colour; known are only_missing, limit.",
}


def error_of(kind: type) -> type[Exception]:
    return CheckpointError if kind in (GenerationSettings, Writing) else SettingsError


@pytest.mark.parametrize("kind", CLASSES)
def test_stored_settings_are_read_with_every_value(kind: Any) -> None:
    stored = json.loads(STORED[kind])
    read = kind.from_dict(stored)

    assert json.loads(json.dumps(read.to_dict())) == stored
    assert kind.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("kind", [FinetuneSettings, GenerationSettings, Writing, ProjectSettings, AnnotateSettings])
def test_what_was_not_stored_has_its_default(kind: Any) -> None:
    assert kind.from_dict({}) == kind()
    for name, value in json.loads(STORED[kind]).items():
        others = kind.from_dict({name: value}).to_dict()
        assert others.pop(name) != getattr(kind(), name)
        assert others.items() <= kind().to_dict().items()


def test_values_out_of_json_have_the_types_that_the_code_uses() -> None:
    writing = Writing.from_dict(json.loads(WRITING))
    space = SearchSpace.from_dict(json.loads(STORED[SearchSpace]))

    assert writing.spacing == {"-": (False, False)}
    assert writing.words_by_neighbours == Neighbours(
        both={"american sign language": "Sign"}, before={"american sign": "Sign"}, after={"sign language": "Sign"}
    )
    assert writing.spacing_by_neighbours.after == {"' il": (True, False)}
    assert writing.endings == ("ung", "heit")
    assert (space.ways, space.schedules, space.rates) == (("decoder", "lora"), ("cosine",), (1e-4, 1e-2))


@pytest.mark.parametrize("kind", CLASSES)
def test_an_unknown_name_is_refused_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(error_of(kind)) as error:
        kind.from_dict(json.loads(STORED[kind]) | {"colour": "red"})
    assert str(error.value).startswith(UNKNOWN[kind])


def test_what_has_no_default_is_asked_for() -> None:
    with pytest.raises(SettingsError) as error:
        SearchSpace.from_dict({"ways": ["decoder"], "schedules": ["cosine"]})
    assert str(error.value) == "There is no sweep setting rates; expected a lowest and a highest learning rate."


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in STORED for name in json.loads(STORED[kind])])
def test_a_value_that_no_setting_has_is_named_in_each(kind: Any, name: str) -> None:
    with pytest.raises(error_of(kind)) as error:
        kind.from_dict(json.loads(STORED[kind]) | {name: [[]]})
    assert f" setting {name} is [[]]; expected " in str(error.value)


@pytest.mark.parametrize(
    ("kind", "name", "wrong", "expected"),
    [
        (FinetuneSettings, "way", "sideways", "one of decoder, lora, full."),
        (FinetuneSettings, "steps", 0, "a whole number above 0."),
        (FinetuneSettings, "steps", 1.5, "a whole number above 0."),
        (FinetuneSettings, "batch_size", None, "a whole number above 0."),
        (FinetuneSettings, "patience", True, "a whole number above 0."),
        (FinetuneSettings, "ema", 1, "a number from 0 to below 1."),
        (FinetuneSettings, "dropout", "0.1", "a number from 0 to below 1."),
        (FinetuneSettings, "replay", 2, "a number from 0 to 1."),
        (FinetuneSettings, "replay", True, "a number from 0 to 1."),
        (FinetuneSettings, "max_gradient_norm", float("inf"), "a number above 0."),
        (FinetuneSettings, "layer_decay", 0, "a number above 0, at most 1."),
        (FinetuneSettings, "augment", "yes", "true or false."),
        (FinetuneSettings, "augment", 1, "true or false."),
        (FinetuneSettings, "prompt", None, "a text."),
        (FinetuneSettings, "seed", -1, "a whole number from 0."),
        (GenerationSettings, "num_beams", 65, "a whole number from 1 to 64."),
        (GenerationSettings, "min_length", 30, "at most max_length (20)."),
        (GenerationSettings, "writing", 3, "writing settings by name."),
        (Writing, "case", "camel", "one of plain, sentence, title, upper."),
        (Writing, "words", ["London"], "a spelling for each word."),
        (Writing, "spacing", {"-": [True]}, "two booleans for each mark."),
        (Writing, "spacing_by_neighbours", {"both": {"a - b": 1}}, "two booleans for each mark, by its neighbours."),
        (Writing, "words_by_neighbours", {"beside": {}}, "a spelling for each word, by its neighbours."),
        (Writing, "endings", [3], "a list of texts."),
        (SearchSpace, "ways", None, "a list of ways."),
        (SearchSpace, "schedules", "cosine", "a list of schedules."),
        (SearchSpace, "rates", [1e-4], "a lowest and a highest learning rate."),
        (ProjectSettings, "train_at", "3", "a time such as 03:00, or off."),
        (ProjectSettings, "train_at", "25:00", "a time such as 03:00, or off."),
        (ProjectSettings, "train_below", 0, "a number above 0, at most 1, or off."),
        (ProjectSettings, "random_share", float("nan"), "a number from 0 to 0.5."),
        (ProjectSettings, "strategy", None, "one of auto, random, "),
        (AnnotateSettings, "only_missing", 1, "true or false."),
        (AnnotateSettings, "limit", -1, "a whole number from 0 on, or none."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(kind: Any, name: str, wrong: object, expected: str) -> None:
    complete = json.loads(STORED[SearchSpace]) if kind is SearchSpace else {}
    with pytest.raises(error_of(kind)) as error:
        kind.from_dict({**complete, name: wrong})
    assert f" setting {name} is {wrong!r}; expected {expected}" in str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ways": ["sideways"]}, "The ways to search are sideways; expected some of decoder, lora, full, each once."),
        ({"rates": [1e-2, 1e-4]}, "The learning rates to search are 0.01 to 0.0001; expected a lower one above 0"),
        ({"fixed": {"steps": 0}}, "Fine-tuning setting steps is 0; expected a whole number above 0."),
    ],
)
def test_a_sweep_says_what_it_cannot_search(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        SearchSpace.from_dict(json.loads(STORED[SearchSpace]) | values)
    assert said in str(error.value)


def test_a_writing_within_generation_settings_says_its_own_field() -> None:
    with pytest.raises(CheckpointError) as error:
        GenerationSettings.from_dict({"writing": {"case": "camel"}})
    assert str(error.value) == "Writing setting case is 'camel'; expected one of plain, sentence, title, upper."


def test_whole_numbers_do_for_numbers() -> None:
    assert FinetuneSettings.from_dict({"replay": 1, "ema": 0, "learning_rate": 1}) == FinetuneSettings(
        learning_rate=1.0
    )
    assert GenerationSettings.from_dict({"repetition_penalty": 1}) == GenerationSettings()
    assert ProjectSettings.from_dict({"random_share": 0}) == ProjectSettings(random_share=0.0)
