"""The three ways of fine-tuning: what each changes, that each learns, and that its result is a plain BLIP."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.model.training.test_loop import UNREGULARISED, checkpoint, examples, pictures
from transformers import BlipForConditionalGeneration
from transformers.models.blip.modeling_blip import BlipVisionModel

from captionloop.errors import RunError
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import caption, draw
from captionloop.model.training import loop, trainable
from captionloop.model.training.caption_targets import caption_loss
from captionloop.model.training.encoder import encode_images
from captionloop.model.training.loop import FinetuneResult, finetune
from captionloop.model.training.settings import FinetuneSettings

CAPTIONS = ["a red car", "two blue fish", "the sun"]
COLOURS = [(200, 30, 30), (30, 60, 220), (250, 220, 60)]
WITH_THE_ENCODER = [{"way": "full"}, {"way": "lora"}, {"way": "lora", "lora_parts": "encoder"}]


def picture(image_hash: str) -> Image.Image:
    return Image.new("RGB", (64, 48), COLOURS[int(image_hash, 16)])


def trained(base: Checkpoint | None = None, **settings: Any) -> FinetuneResult:
    chosen = FinetuneSettings(**{"steps": 4, "batch_size": 3, "learning_rate": 3e-3, **UNREGULARISED, **settings})
    return finetune(
        base or checkpoint(),
        examples(CAPTIONS),
        settings=chosen,
        features=None if chosen.trains_encoder else pictures(3),
        pictures=picture if chosen.trains_encoder else None,
    )


def changed_parts(base: Checkpoint, result: FinetuneResult) -> set[str]:
    before, after = base.model.state_dict(), result.checkpoint.model.state_dict()
    assert before.keys() == after.keys()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"way": "decoder"}, {"text_decoder"}),
        ({"way": "lora", "lora_parts": "decoder"}, {"text_decoder"}),
        ({"way": "lora", "lora_parts": "encoder"}, {"vision_model"}),
        ({"way": "lora", "lora_parts": "both"}, {"vision_model", "text_decoder"}),
        ({"way": "full"}, {"vision_model", "text_decoder"}),
    ],
)
def test_a_way_changes_its_part_of_a_copy_and_nothing_else(settings: dict[str, Any], parts: set[str]) -> None:
    base = checkpoint()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    result = trained(base, **settings)
    assert changed_parts(base, result) == parts
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("settings", [*WITH_THE_ENCODER[:2], {"way": "full", "gradient_checkpointing": True}])
def test_a_way_with_the_encoder_learns_a_style_on_the_starter_model(settings: dict[str, Any]) -> None:
    scenes = [example("ways", index) for index in range(4)]
    drawn = {f"{index:064x}": draw(scene, seed=seed) for index, (scene, seed) in enumerate(scenes)}
    wanted = [f"alt text: {caption(scene)}" for scene, _ in scenes]
    result = finetune(
        load_checkpoint("starter"),
        examples(wanted),
        settings=FinetuneSettings(steps=60, batch_size=4, **UNREGULARISED, **settings),
        pictures=drawn.__getitem__,
    )
    captioner = Captioner(result.checkpoint, version="new", generation=GenerationSettings(max_length=60))
    assert [found.caption for found in captioner.caption(list(drawn.values()))] == wanted


@pytest.mark.parametrize("settings", [{"way": "decoder"}, *WITH_THE_ENCODER])
def test_the_result_is_a_plain_blip_that_reads_back_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    result = trained(**settings)
    save_checkpoint(result.checkpoint, tmp_path)
    again = BlipForConditionalGeneration.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(result.checkpoint.model.parameters(), again.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # PEFT asks transformers for it
def test_the_adapter_of_a_lora_run_makes_the_same_model_of_its_base(tmp_path: Path) -> None:
    from peft import PeftModel

    base = checkpoint()
    result = trained(base, way="lora", steps=20, learning_rate=2e-2)
    result.trainable.save_adapter(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    adapted = PeftModel.from_pretrained(base.model, str(tmp_path)).merge_and_unload()
    for wanted, found in zip(result.checkpoint.model.parameters(), adapted.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_smaller_micro_batches_give_the_same_step() -> None:
    whole, parts = trained(steps=3), trained(steps=3, micro_batch_size=1)
    assert whole.losses == pytest.approx(parts.losses, rel=1e-5)


def test_a_cpu_trains_the_encoder_on_no_more_pictures_at_once_than_make_it_quicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once: list[int] = []

    def counted(encoder: BlipVisionModel, pixels: torch.Tensor, **options: Any) -> torch.Tensor:
        at_once.append(len(pixels))
        return encode_images(encoder, pixels, **options)

    base = checkpoint()
    monkeypatch.setattr(trainable, "encode_images", counted)
    monkeypatch.setattr(loop, "_PATCHES_AT_ONCE", 2 * base.model.vision_model.embeddings.num_positions)

    trained(base, way="full", steps=1)

    assert at_once == [2, 1]


def test_when_memory_runs_out_the_micro_batch_is_halved_and_the_step_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The real step, with an allocator that has room for a single example."""
    loss_of = caption_loss

    def too_large(logits: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        if len(labels) > 1:
            raise torch.OutOfMemoryError("no room")
        return loss_of(logits, labels, **options)

    expected = trained(steps=3)
    monkeypatch.setattr(loop, "caption_loss", too_large)
    with caplog.at_level(logging.WARNING):
        result = trained(steps=3)
    assert result.losses == pytest.approx(expected.losses, rel=1e-5)
    assert "Out of memory at step 1: going on with 1 examples at a time" in caplog.text


def test_no_memory_for_one_example_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(loop, "caption_loss", full)
    with pytest.raises(RunError, match="not the memory to train on a single example"):
        trained()


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(loop, "caption_loss", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trained()
