"""Loading and saving models: every published layout, and nothing that is incomplete, unsafe or something else."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.model.captioning.published_layout import tiny_model, write_base, write_fp16, write_large
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipProcessor

from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import encoder_hash, load_checkpoint, save_checkpoint


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write_large(tmp_path / "large")


def same_weights(one: BlipForConditionalGeneration, other: BlipForConditionalGeneration) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def edit_config(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = directory / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    change(weights)
    torch.save(weights, path)


def test_the_base_layout_with_a_bin_file_only_loads_every_weight(base: Path) -> None:
    checkpoint = load_checkpoint(base)
    assert same_weights(checkpoint.model, tiny_model())
    assert not checkpoint.model.training
    assert checkpoint.source == str(base)


def test_a_path_may_be_given_as_text(base: Path) -> None:
    assert load_checkpoint(str(base)).source == str(base)


def test_the_tokenizer_lacks_the_start_token_that_the_model_has(base: Path) -> None:
    checkpoint = load_checkpoint(base)
    start = checkpoint.model.config.text_config.bos_token_id
    assert start == len(checkpoint.tokenizer)
    assert checkpoint.tokenizer.bos_token is None
    assert checkpoint.tokenizer("a red car")["input_ids"][-1] == checkpoint.model.config.text_config.sep_token_id


def test_the_large_layout_with_a_wider_vision_tower_loads(large: Path) -> None:
    model = load_checkpoint(large).model
    assert (model.config.vision_config.hidden_size, model.config.text_config.hidden_size) == (48, 32)
    assert model.text_decoder.bert.encoder.layer[0].crossattention.self.key.weight.shape == (32, 48)


def test_of_two_weight_files_safetensors_is_read(large: Path) -> None:
    (large / "pytorch_model.bin").write_bytes(b"never opened")
    assert load_checkpoint(large).model.dtype == torch.float32


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    model = load_checkpoint(write_fp16(tmp_path / "fp16")).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(
        model.vision_model.embeddings.class_embedding,
        tiny_model().vision_model.embeddings.class_embedding.half().float(),
    )


def test_weights_can_be_asked_for_in_another_dtype(base: Path) -> None:
    assert load_checkpoint(base, dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_nothing_is_drawn_on_the_terminal(base: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(base)
    assert capfd.readouterr() == ("", "")


# -- what is refused ---------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no model directory .*nowhere"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="There is no model directory nowhere"):
        load_checkpoint("nowhere")


def test_a_file_in_place_of_a_directory(base: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file; expected a model directory"):
        load_checkpoint(base / "config.json")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"hub cannot be reached.*hf download some/model --local-dir"):
        load_checkpoint("some/model")


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(model_type="bert"), "of type 'bert'; expected 'blip'"),
        (
            lambda c: c.update(architectures=["BlipForQuestionAnswering"]),
            "BlipForQuestionAnswering, a BLIP that does not",
        ),
        (lambda c: c["text_config"].update(sep_token_id=3), "captions end with id 3"),
        (lambda c: c["text_config"].update(bos_token_id=99_999), "captions start with id 99999"),
        (lambda c: c["text_config"].update(bos_token_id=None), "captions start with id None"),
        (
            lambda c: c["text_config"].update(intermediate_size=65),
            "have other shapes than its config.json says",
        ),
        (lambda c: c["text_config"].update(vocab_size=9999), "have other shapes than its config.json says"),
        (lambda c: c["vision_config"].update(patch_size=8), "have other shapes than its config.json says"),
        (lambda c: c["text_config"].update(num_hidden_layers=3), r"lack text_decoder\.bert\.encoder\.layer\.2\."),
        (
            lambda c: c["text_config"].update(num_hidden_layers=1),
            r"have unknown text_decoder\.bert\.encoder\.",
        ),
    ],
)
def test_a_configuration_that_does_not_fit(
    base: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_config(base, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(base)


def test_a_configuration_that_is_no_json(base: Path) -> None:
    (base / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is no valid JSON"):
        load_checkpoint(base)


def _nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


_ODD_VALUES = [True, "many", -1, 0, 1.5, 10**9, 10**400, [1], {"a": 1}]


@pytest.mark.parametrize("value", _ODD_VALUES, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("text_config", "num_hidden_layers"),
        ("text_config", "hidden_size"),
        ("text_config", "vocab_size"),
        ("text_config", "max_position_embeddings"),
        ("text_config", "encoder_hidden_size"),
        ("vision_config", "num_hidden_layers"),
        ("vision_config", "num_attention_heads"),
        ("vision_config", "image_size"),
        ("vision_config", "patch_size"),
    ],
)
def test_an_absurd_size_is_named(base: Path, section: str, field: str, value: object) -> None:
    edit_config(base, lambda config: config[section].update({field: value}))
    with pytest.raises(CheckpointError, match=rf"{section}\.{field} is|Exceeds the limit .* for integer string"):
        load_checkpoint(base)


@pytest.mark.parametrize("section", ["vision_config", "text_config"])
@pytest.mark.parametrize("value", ["all", 3, [], [{}]], ids=str)
def test_a_section_that_is_none_is_named(base: Path, section: str, value: object) -> None:
    edit_config(base, lambda config: config.update({section: value}))
    with pytest.raises(CheckpointError, match=rf"{section} is"):
        load_checkpoint(base)


def test_a_model_that_is_far_larger_than_its_weights_is_refused(base: Path) -> None:
    edit_config(base, lambda c: c["text_config"].update(hidden_size=65_536, intermediate_size=65_536))
    with pytest.raises(CheckpointError, match=r"describes a model of .* weights or more"):
        load_checkpoint(base)


@pytest.mark.parametrize("text", ["[]", "3", "null", _nested(100_000), '{"a": "' + "x" * 2**21 + '"}', "\xff"])
def test_a_configuration_that_is_no_object_of_a_few_kilobytes(base: Path, text: str) -> None:
    (base / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(base)


def test_a_configuration_that_is_a_link_to_itself(base: Path) -> None:
    (base / "config.json").unlink()
    (base / "config.json").symlink_to("config.json")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(base)


@pytest.mark.parametrize(
    "name", ["preprocessor_config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"]
)
@pytest.mark.parametrize("text", ["[]", "3", "null", _nested(100_000), "{}}", "\xff"], ids=lambda text: text[:4])
def test_any_other_file_that_is_damaged_is_an_error_of_the_checkpoint_or_does_not_matter(
    base: Path, name: str, text: str
) -> None:
    (base / name).write_text(text, encoding="latin-1")
    with suppress(CheckpointError):
        load_checkpoint(base)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": "large"},
        {"size": {"height": 10**9, "width": 10**9}},
        {"size": {"height": -1, "width": 5}},
        {"image_mean": "grey"},
        {"image_std": [0, 0, 0]},
        {"resample": 99},
        {"rescale_factor": "x"},
        {"image_processor_type": "Nothing"},
    ],
    ids=str,
)
def test_preprocessing_that_cannot_be_done_is_an_error_of_the_checkpoint(base: Path, settings: dict[str, Any]) -> None:
    path = base / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with suppress(CheckpointError):
        load_checkpoint(base)


def _split(directory: Path, index: object) -> None:
    """The base's weights as published ones of several files are."""
    save_checkpoint(load_checkpoint(directory), directory)
    (directory / "pytorch_model.bin").unlink()
    (directory / "model.safetensors").rename(directory / "model-1.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def test_weights_in_several_files_load(base: Path) -> None:
    names = load_checkpoint(base).model.state_dict()
    _split(base, {"metadata": {}, "weight_map": dict.fromkeys(names, "model-1.safetensors")})
    assert same_weights(load_checkpoint(base).model, tiny_model())


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/model.safetensors", "a/b.safetensors", "..\\b", "..", ""]
)
def test_weights_are_never_read_from_elsewhere(base: Path, name: str) -> None:
    _split(base, {"metadata": {}, "weight_map": {"text_decoder.cls.predictions.bias": name}})
    with pytest.raises(CheckpointError, match="does not lie beside it"):
        load_checkpoint(base)


@pytest.mark.parametrize("index", [[], {}, {"weight_map": []}, {"weight_map": {"a": 3}}], ids=str)
def test_an_index_that_is_none(base: Path, index: object) -> None:
    _split(base, index)
    with pytest.raises(CheckpointError, match="has no weight_map"):
        load_checkpoint(base)


def test_a_file_that_the_index_names_is_missing(base: Path) -> None:
    _split(base, {"metadata": {}, "weight_map": {"a": "model-2.safetensors"}})
    with pytest.raises(CheckpointError, match=r"model-2\.safetensors, which is missing"):
        load_checkpoint(base)


def test_missing_weights_are_never_made_up(base: Path) -> None:
    edit_weights(base, lambda weights: weights.pop("vision_model.encoder.layers.0.mlp.fc1.weight"))
    with pytest.raises(CheckpointError, match=r"lack vision_model\.encoder\.layers\.0\.mlp\.fc1\.weight"):
        load_checkpoint(base)


def test_unknown_weights_are_not_passed_over(base: Path) -> None:
    edit_weights(base, lambda weights: weights.update({"itm_head.weight": torch.zeros(2, 2)}))
    with pytest.raises(CheckpointError, match=r"have unknown itm_head\.weight"):
        load_checkpoint(base)


def test_a_tied_output_layer_need_not_be_stored(base: Path) -> None:
    edit_weights(base, lambda weights: weights.pop("text_decoder.cls.predictions.decoder.weight"))
    assert same_weights(load_checkpoint(base).model, tiny_model())


def test_an_untied_output_layer_is_kept(base: Path) -> None:
    def untie(config: dict[str, Any]) -> None:
        config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False

    edit_config(base, untie)
    name = "text_decoder.cls.predictions.decoder.weight"
    edit_weights(base, lambda weights: weights.update({name: weights[name] + 1}))
    model = load_checkpoint(base).model
    assert torch.equal(model.state_dict()[name], tiny_model().state_dict()[name] + 1)


@pytest.mark.parametrize("layout", [write_base, write_large])
def test_a_damaged_weight_file(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    directory = layout(tmp_path / "model")
    path = directory / ("model.safetensors" if layout is write_large else "pytorch_model.bin")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(directory)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["MALICIOUS_TARGET"],)


def test_a_pickle_that_runs_code_does_not_run_it(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALICIOUS_TARGET", str(tmp_path / "owned"))
    torch.save({"weight": Malicious()}, base / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="could run code, and so are not loaded") as raised:
        load_checkpoint(base)
    assert "weights_only" not in str(raised.value)  # how to load it all the same
    assert not (tmp_path / "owned").exists()


def test_pickles_of_other_names_are_not_opened(base: Path) -> None:
    (base / "pytorch_model.bin").rename(base / "weights.pt")
    with pytest.raises(CheckpointError, match=r"has no weights: expected model\.safetensors.*weights\.pt is not read"):
        load_checkpoint(base)


def test_code_that_comes_with_a_model_is_not_run(base: Path, tmp_path: Path) -> None:
    (base / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'owned')!r})\nclass Evil: pass\n")
    edit_config(base, lambda config: config.update(auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}))
    path = base / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}))
    load_checkpoint(base)
    assert not (tmp_path / "owned").exists()


def test_a_missing_tokenizer_does_not_become_one_that_knows_nothing(base: Path) -> None:
    (base / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_checkpoint(base)


def test_a_tokenizer_with_more_words_than_the_model(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["morewords", "thanthe", "modelhas"])
    tokenizer.save_pretrained(base)
    with pytest.raises(CheckpointError, match=r"tokenizer in .* has \d+ words, more than the model's \d+"):
        load_checkpoint(base)


def test_missing_preprocessing(base: Path) -> None:
    (base / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"image processor in .* cannot be loaded"):
        load_checkpoint(base)


# -- saving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [write_base, write_large])
def test_a_saved_checkpoint_is_loaded_the_same(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    original = load_checkpoint(layout(tmp_path / "model"))
    save_checkpoint(original, tmp_path / "saved")
    again = load_checkpoint(tmp_path / "saved")
    assert same_weights(again.model, original.model)
    assert again.tokenizer.get_vocab() == original.tokenizer.get_vocab()
    assert encoder_hash(again) == encoder_hash(original)


def test_a_saved_checkpoint_has_no_pickle_in_it(base: Path, tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(base), tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl"))}


def test_plain_transformers_loads_what_is_saved(base: Path, tmp_path: Path) -> None:
    original = load_checkpoint(base)
    save_checkpoint(original, tmp_path / "saved")
    model = BlipForConditionalGeneration.from_pretrained(tmp_path / "saved")
    processor = BlipProcessor.from_pretrained(tmp_path / "saved", backend="pil")
    assert same_weights(model, original.model)
    assert processor.tokenizer("a red car")["input_ids"] == original.tokenizer("a red car")["input_ids"]
    assert processor.image_processor.size == original.image_processor.size


def test_weights_can_be_saved_smaller_without_changing_the_model(base: Path, tmp_path: Path) -> None:
    original = load_checkpoint(base)
    save_checkpoint(original, tmp_path / "saved", dtype=torch.float16)
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert original.model.dtype == torch.float32
    assert load_checkpoint(tmp_path / "saved").model.dtype == torch.float32


# -- the encoder's name ------------------------------------------------------------------------------------------


def test_the_encoders_name_is_the_same_for_the_same_encoder(base: Path, tmp_path: Path) -> None:
    name = encoder_hash(load_checkpoint(base))
    assert len(name) == 64
    assert encoder_hash(load_checkpoint(write_base(tmp_path / "again"))) == name


def test_the_decoder_has_no_part_in_the_encoders_name(base: Path) -> None:
    checkpoint = load_checkpoint(base)
    name = encoder_hash(checkpoint)
    with torch.no_grad():
        checkpoint.model.text_decoder.bert.embeddings.word_embeddings.weight += 1
    assert encoder_hash(checkpoint) == name


def test_half_precision_copies_of_the_same_values_are_the_same_encoder(tmp_path: Path) -> None:
    directory = write_fp16(tmp_path / "fp16")
    assert encoder_hash(load_checkpoint(directory)) == encoder_hash(load_checkpoint(directory, dtype=torch.float16))


@pytest.mark.parametrize("change", ["weight", "heads", "mean", "size"])
def test_whatever_changes_its_output_changes_its_name(base: Path, change: str) -> None:
    checkpoint = load_checkpoint(base)
    name = encoder_hash(checkpoint)
    if change == "weight":
        with torch.no_grad():
            checkpoint.model.vision_model.post_layernorm.bias[3] += 1e-3
    elif change == "heads":
        checkpoint.model.config.vision_config.num_attention_heads = 2
    elif change == "mean":
        checkpoint.image_processor.image_mean = [0.5, 0.5, 0.5]
    else:
        checkpoint.image_processor.size = {"height": 16, "width": 16}
    assert encoder_hash(checkpoint) != name
