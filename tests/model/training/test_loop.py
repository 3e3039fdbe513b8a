"""Fine-tuning trains on what generation sees, learns it, repeats itself exactly, and leaves the old version alone."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.model.captioning.published_layout import IMAGE_SIZE, bert_tokenizer, tiny_config, tiny_model
from torch.nn import functional
from transformers import BlipImageProcessorPil

from captionloop.errors import RunCancelled, RunError, SettingsError
from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.evaluation.gate import judge
from captionloop.model.training.caption_targets import asking, caption_loss, training_batch
from captionloop.model.training.decoder import logits_at
from captionloop.model.training.loop import FinetuneResult, TrainingProgress, finetune
from captionloop.model.training.settings import FinetuneSettings, default_learning_rate, default_steps

CAPTION = "illustration: two small dogs, left of a tree"
PATCHES = 4
# A model 32 wide with large random weights needs thousands of steps against both.
UNREGULARISED: dict[str, Any] = {"dropout": 0.0, "label_smoothing": 0.0}


def checkpoint(**text_config: Any) -> Checkpoint:
    processor = BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return Checkpoint(tiny_model(tiny_config(**text_config)), bert_tokenizer(), processor, "tiny")


def pictures(count: int, *, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"{i:064x}": torch.randn(PATCHES + 1, 32, generator=generator) for i in range(count)}


def examples(captions: Sequence[str]) -> list[Example]:
    return [Example(i, f"{i:064x}", caption) for i, caption in enumerate(captions)]


def trained(captions: Sequence[str], base: Checkpoint | None = None, **settings: Any) -> FinetuneResult:
    return finetune(
        base or checkpoint(),
        examples(captions),
        settings=FinetuneSettings(**{"steps": 60, "learning_rate": 3e-3, "batch_size": 4, **settings}),
        features=pictures(len(captions)),
    )


def captions_of(result: FinetuneResult, features: dict[str, torch.Tensor], *, num_beams: int = 1) -> list[str]:
    generation = GenerationSettings(num_beams=num_beams, min_length=0, max_length=60, prompt=result.settings.prompt)
    captioner = Captioner(result.checkpoint, version="new", generation=generation, precision="fp32")
    return [suggestion.caption for suggestion in captioner.caption_features(torch.stack(list(features.values())))]


# --- the text it trains on -----------------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_of_what_generation_writes() -> None:
    """Computed by hand, token by token: [DEC] first, [SEP] asked for, the prompt and padding not."""
    base = checkpoint(label_smoothing=0.7)  # a trap: `transformers` would use it
    tokenizer, model = base.tokenizer, base.model
    prompt, texts = "a picture of", ["a red car", "two dogs and a cat in front of a house"]
    features = torch.stack(list(pictures(2).values()))
    batch = training_batch(texts, tokenizer, start_id=model.config.text_config.bos_token_id, prompt=prompt)

    expected, count = 0.0, 0
    for text, image in zip(texts, features, strict=True):
        prompt_ids, caption_ids = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, text))
        written = [model.config.text_config.bos_token_id, *prompt_ids]
        for wanted in [*caption_ids, tokenizer.sep_token_id]:
            with torch.no_grad():
                logits = model.text_decoder(
                    input_ids=torch.tensor([written]),
                    attention_mask=torch.ones(1, len(written), dtype=torch.long),
                    encoder_hidden_states=image[None],
                ).logits[0, -1]
            expected -= float(functional.log_softmax(logits, dim=-1)[wanted])
            count += 1
            written.append(wanted)

    with torch.no_grad():
        logits = logits_at(model.text_decoder, batch.ids, asking(batch.labels), features)
    assert float(caption_loss(logits, batch.labels)) == pytest.approx(expected / count, abs=1e-4)


def test_label_smoothing_changes_the_loss_of_training_only() -> None:
    logits, labels = torch.randn(8, 9), torch.randint(0, 9, (2, 5))
    per_class = -functional.log_softmax(logits, dim=-1)
    plain = per_class.gather(1, labels[:, 1:].reshape(-1, 1)).mean()
    assert float(caption_loss(logits, labels)) == pytest.approx(float(plain), abs=1e-6)
    smoothed = 0.9 * plain + 0.1 * per_class.mean()
    assert float(caption_loss(logits, labels, label_smoothing=0.1)) == pytest.approx(float(smoothed), abs=1e-6)


def test_the_loss_is_a_mean_over_the_tokens_of_all_captions() -> None:
    labels = torch.randint(0, 9, (2, 5))
    labels[1, 2:] = -100  # one caption of four tokens, one of a single token
    logits = torch.randn(5, 9)
    losses = [float(caption_loss(logits[:4], labels[:1])), float(caption_loss(logits[4:], labels[1:]))]
    assert float(caption_loss(logits, labels)) == pytest.approx((4 * losses[0] + losses[1]) / 5, abs=1e-6)
    parts = [caption_loss(logits[:4], labels[:1], total=5), caption_loss(logits[4:], labels[1:], total=5)]
    assert float(sum(parts)) == pytest.approx(float(caption_loss(logits, labels)), abs=1e-6)


@pytest.mark.parametrize("prompt", ["", "a picture of"])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_model_trained_on_one_caption_writes_exactly_it(num_beams: int, prompt: str) -> None:
    result = trained([CAPTION] * 4, steps=120, prompt=prompt, **UNREGULARISED)
    assert result.losses[-1] < result.losses[0] / 2
    assert captions_of(result, pictures(4), num_beams=num_beams) == [CAPTION] * 4


@pytest.mark.slow
def test_a_model_learns_which_caption_belongs_to_which_picture() -> None:
    captions = [
        "a red car",
        "two blue fish, small",
        "the sun above a house",
        "alt text: cat",
        "a sign says stop",
        "people",
    ]
    result = trained(captions, steps=300, batch_size=6, **UNREGULARISED)
    assert captions_of(result, pictures(6)) == captions


# --- what it leaves as it was --------------------------------------------------------------------------------------


def test_the_old_version_keeps_its_weights_and_the_encoder_is_shared() -> None:
    base = checkpoint()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    result = trained(["a red car"], base)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert not base.model.training
    assert result.checkpoint.model.vision_model is base.model.vision_model
    assert not torch.equal(
        result.checkpoint.model.text_decoder.bert.embeddings.word_embeddings.weight,
        base.model.text_decoder.bert.embeddings.word_embeddings.weight,
    )


def test_the_result_is_ready_to_caption_with_the_models_own_dropout() -> None:
    result = trained(["a red car"], checkpoint(hidden_dropout_prob=0.03), dropout=0.4)
    model = result.checkpoint.model
    assert not model.training
    assert {m.p for m in model.text_decoder.modules() if isinstance(m, torch.nn.Dropout)} <= {0.03, 0.0}
    assert not any(parameter.requires_grad for parameter in model.text_decoder.parameters())


def test_input_and_output_embeddings_stay_tied() -> None:
    decoder = trained(["a red car"]).checkpoint.model.text_decoder
    assert decoder.cls.predictions.decoder.weight is decoder.bert.embeddings.word_embeddings.weight


# --- it repeats itself ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_numbers_alone() -> None:
    captions = ["a red car", "a cat", "two dogs"]
    torch.manual_seed(1)
    one = trained(captions, seed=3)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    other, third = trained(captions, seed=3), trained(captions, seed=4)
    assert one.losses == other.losses
    weights = [result.checkpoint.model.text_decoder.state_dict() for result in (one, other, third)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert not all(torch.equal(tensor, weights[2][name]) for name, tensor in weights[0].items())


def test_features_may_come_from_a_function_or_a_dictionary() -> None:
    captions, features = ["a red car", "a cat"], pictures(2)
    settings = FinetuneSettings(steps=5, learning_rate=1e-3, batch_size=2)
    by_dictionary = finetune(checkpoint(), examples(captions), settings=settings, features=features)
    by_function = finetune(
        checkpoint(),
        examples(captions),
        settings=settings,
        features=lambda hashes: torch.stack([features[image] for image in hashes]),
    )
    assert by_dictionary.losses == by_function.losses


# --- what is not trained on ----------------------------------------------------------------------------------------


def test_captions_that_cannot_be_learnt_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    captions = ["a red car", "", "  ", "é" * 1001, "a red car " * 300]
    with caplog.at_level(logging.WARNING):
        result = trained(captions)
    assert result.examples == 1
    assert [(str(rejected.example), rejected.reason.split(";")[0]) for rejected in result.rejected] == [
        ("correction 1", "the caption is empty"),
        ("correction 2", "the caption is empty"),
        ("correction 3", f"the model's vocabulary cannot write '{'é' * 39} in '{'é' * 199}"),
        ("correction 4", "the caption has 902 tokens and would be cut"),
    ]
    assert all(f"Not trained on correction {i}" in caplog.text for i in (1, 2, 3, 4))


def test_a_run_without_a_usable_correction_is_an_error() -> None:
    with pytest.raises(RunError, match="There is no correction to train on"):
        trained([])
    with pytest.raises(
        RunError, match="None of the 2 corrections can be trained on; correction 0: the caption is empty"
    ):
        trained(["", " "])


def test_an_image_without_features_is_named() -> None:
    with pytest.raises(RunError, match="The images of correction 1 have no features"):
        finetune(
            checkpoint(),
            examples(["a red car", "a cat"]),
            settings=FinetuneSettings(steps=2),
            features=pictures(1),
        )


# --- while it runs -------------------------------------------------------------------------------------------------


def test_progress_is_told_and_ends_at_the_last_step(caplog: pytest.LogCaptureFixture) -> None:
    told: list[TrainingProgress] = []
    with caplog.at_level(logging.INFO):
        result = finetune(
            checkpoint(),
            examples(["a red car", "a cat"]),
            settings=FinetuneSettings(steps=20, learning_rate=1e-3, batch_size=2),
            features=pictures(2),
            on_progress=told.append,
        )
    assert (told[-1].step, told[-1].steps, told[-1].seconds_left) == (20, 20, 0)
    assert told[-1].loss == pytest.approx(sum(result.losses[-10:]) / 10)
    assert told[-1].learning_rate < 1e-3
    assert told[-1].gradient_norm > 0
    assert told[-1].examples_per_second > 0
    assert "step 20 of 20  loss" in caplog.text


def test_a_cancelled_run_stops_and_changes_nothing() -> None:
    base = checkpoint()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    asked = iter([False, False, True])
    with pytest.raises(RunCancelled, match="cancelled at step 2 of 50"):
        finetune(
            base,
            examples(["a red car"]),
            settings=FinetuneSettings(steps=50),
            features=pictures(1),
            should_stop=lambda: next(asked),
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    features = {image: tensor * float("nan") for image, tensor in pictures(1).items()}
    with pytest.raises(RunError, match="The loss is nan at step 1"):
        finetune(checkpoint(), examples(["a red car"]), settings=FinetuneSettings(steps=3), features=features)


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_chosen_step_is_in_the_result() -> None:
    result = finetune(checkpoint(), examples(["a red car"]), settings=FinetuneSettings(steps=2), features=pictures(1))
    assert result.settings.learning_rate == default_learning_rate(32)
    assert result.settings.steps == 2


def test_wider_models_get_smaller_rates_and_more_corrections_more_steps() -> None:
    assert default_learning_rate(128) == pytest.approx(1e-3)
    assert default_learning_rate(768) == pytest.approx(5e-5)
    steps = [default_steps(count) for count in (1, 5, 20, 60, 160, 320, 5000)]
    assert steps == sorted(steps)


def test_settings_survive_a_manifest() -> None:
    settings = FinetuneSettings(learning_rate=2e-4, steps=17, prompt="a picture of", seed=5)
    assert FinetuneSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected a number above 0, at most 1"),
        ({"steps": 0}, "steps is 0; expected a whole number above 0"),
        ({"batch_size": 2.5}, r"batch_size is 2\.5; expected a whole number above 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0; expected a number from 0 to below 1"),
        ({"seed": -1}, "seed is -1"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"epochs": 3}, "Unknown fine-tuning setting epochs; known are way, learning_rate"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FinetuneSettings.from_dict(values)


def test_weight_decay_spares_biases_norms_and_positions() -> None:
    """With no gradient to follow, a step of AdamW moves only what decays."""
    base = checkpoint()
    result = finetune(
        base,
        examples(["a red car"]),
        settings=FinetuneSettings(
            steps=3, learning_rate=1e-3, weight_decay=0.5, warmup_share=0.0, max_gradient_norm=1e-30
        ),
        features=pictures(1),
    )
    old, new = base.model.text_decoder.state_dict(), result.checkpoint.model.text_decoder.state_dict()
    unused = base.tokenizer.convert_tokens_to_ids("boat")
    words = "bert.embeddings.word_embeddings.weight"
    positions = "bert.embeddings.position_embeddings.weight"
    assert new[words][unused].norm() < old[words][unused].norm()
    assert torch.equal(new[positions][-1], old[positions][-1])


# --- together with the gate ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_on_shuffled_captions_is_rejected_and_one_on_true_captions_promoted() -> None:
    """Pictures here are one vector per colour and kind, so that unseen ones can be captioned at all."""
    colours, kinds = ("red", "blue", "green", "yellow"), ("car", "boat", "cat", "house", "tree")
    generator = torch.Generator().manual_seed(0)
    vectors = {word: torch.randn(32, generator=generator) for word in (*colours, *kinds)}
    shown = [(colours[i % 4], kinds[(i // 4) % 5]) for i in range(100)]
    features = {}
    for i, (colour, kind) in enumerate(shown):
        noise = 0.1 * torch.randn(PATCHES + 1, 32, generator=generator)
        features[f"{i:064x}"] = noise + torch.stack([vectors[colour], vectors[kind]] * 2 + [vectors[kind]])
    true = [f"illustration: {kind}, {colour}" for colour, kind in shown]
    shuffled = [true[i] for i in torch.randperm(80, generator=generator).tolist()]
    base = checkpoint()
    settings = FinetuneSettings(steps=400, learning_rate=2e-3, batch_size=16)

    held_out = {image: features[image] for image in list(features)[80:]}
    references = {image: [caption] for image, caption in zip(held_out, true[80:], strict=True)}
    captions = {}
    for name, learnt in (("true", true[:80]), ("shuffled", shuffled), ("repeated", [true[0]] * 80)):
        result = finetune(base, examples(learnt), settings=settings, features=features)
        captions[name] = dict(zip(held_out, captions_of(result, held_out), strict=True))
    champion = dict.fromkeys(held_out, "") | {image: f"a {colour} {kind}" for image, (colour, kind) in zip(
        held_out, shown[80:], strict=True
    )}  # fmt: skip

    assert judge(references, champion, captions["true"]).promote
    for mixed_up in ("shuffled", "repeated"):
        verdict = judge(references, champion, captions[mixed_up])
        assert not verdict.promote
        assert verdict.follows_pictures is False
