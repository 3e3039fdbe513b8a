"""One model learns several styles at once; without styles a run is what it was, weight by weight and file by file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.model.training.test_loop import UNREGULARISED, checkpoint, pictures
from tests.model.training.test_ways import picture

from captionloop.model.blip.checkpoint import Checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle, generation_for
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.captions.orthography import Writing
from captionloop.model.captions.text import encode_caption
from captionloop.model.training.caption_targets import CaptionText, usable_examples
from captionloop.model.training.examples import TrainingData
from captionloop.model.training.loop import FinetuneResult, finetune
from captionloop.model.training.settings import FinetuneSettings, default_steps, default_steps_of_styles
from captionloop.model.vocabulary.style_tokens import with_style_tokens

OLD, NEW = "a small red car", "Illustration: one dog, left of a tree"
TOKENS = {"new": "[style1]"}


def examples(captions: Sequence[tuple[str, str | None]]) -> list[Example]:
    return [Example(i, f"{i:064x}", text, style=style) for i, (text, style) in enumerate(captions)]


def trained(
    captions: Sequence[tuple[str, str | None]],
    base: Checkpoint | None = None,
    *,
    tokens: dict[str, str] | None = None,
    **settings: Any,
) -> FinetuneResult:
    chosen = FinetuneSettings(**{"steps": 150, "learning_rate": 3e-3, "batch_size": 4, **UNREGULARISED, **settings})
    return finetune(
        base or checkpoint(),
        examples(captions),
        settings=chosen,
        features=None if chosen.trains_encoder else pictures(len(captions)),
        pictures=picture if chosen.trains_encoder else None,
        style_tokens=tokens,
    )


def settings_for(result: FinetuneResult, **fields: Any) -> GenerationSettings:
    before = GenerationSettings(prompt=result.settings.prompt, **fields)
    return generation_for(before, result.checkpoint, [OLD], in_styles={"new": [NEW]}, tokens=TOKENS)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("prompt", ["", "a picture of"])
def test_one_model_writes_the_same_picture_in_each_style(prompt: str, num_beams: int) -> None:
    # Each picture has a caption in both, so that nothing but the token tells which one is wanted.
    both = [replace(example, image=image) for image in pictures(4) for example in examples([(OLD, None), (NEW, "new")])]
    settings = FinetuneSettings(**UNREGULARISED, steps=250, learning_rate=1e-2, batch_size=8, prompt=prompt)
    result = finetune(checkpoint(), both, settings=settings, features=pictures(4), style_tokens=TOKENS)
    captioner = Captioner(
        result.checkpoint, version="new", generation=settings_for(result, num_beams=num_beams), precision="fp32"
    )
    features = torch.stack(list(pictures(4).values()))
    assert {found.caption for found in captioner.caption_features(features)} == {OLD}
    assert {found.caption for found in captioner.in_style("new").caption_features(features)} == {NEW}


def test_without_styles_weights_and_files_are_those_of_a_run_that_knows_of_none(tmp_path: Path) -> None:
    captions: list[tuple[str, str | None]] = [(OLD, None), (NEW, None)] * 4
    for name, tokens in (("without", None), ("with", {})):
        result = trained(captions, tokens=tokens, steps=5)
        generation = generation_for(GenerationSettings(), result.checkpoint, [OLD, NEW], in_styles={}, tokens={})
        save_checkpoint(result.checkpoint, tmp_path / name, generation=generation)
        assert {"styles", "style"}.isdisjoint(generation.to_dict())
        assert generation == generation_for(GenerationSettings(), result.checkpoint, [OLD, NEW])
    files = [path.name for path in sorted((tmp_path / "without").iterdir())]
    assert files == [path.name for path in sorted((tmp_path / "with").iterdir())]
    for file in files:
        assert (tmp_path / "without" / file).read_bytes() == (tmp_path / "with" / file).read_bytes(), file


def batches(of_styles: dict[str | None, int], count: int) -> list[list[int]]:
    """The first batches of so many examples of each style, as indices."""
    captions = [(OLD, style) for style, examples in of_styles.items() for _ in range(examples)]
    data = TrainingData(
        examples(captions), checkpoint(), FinetuneSettings(seed=3), features={}, pictures=None, style_tokens=TOKENS
    )
    return list(islice(data.batches(), count))


@pytest.mark.parametrize("style", [None, "new"])
def test_examples_of_one_style_come_in_the_order_that_they_always_had(style: str | None) -> None:
    generator = torch.Generator().manual_seed(3)
    epochs = [index for _ in range(4) for index in torch.randperm(20, generator=generator).tolist()]
    assert batches({style: 20}, 5) == [epochs[start : start + 16] for start in range(0, 80, 16)]


def test_few_examples_of_a_style_are_seen_as_often_beside_many_of_another_as_alone() -> None:
    steps = default_steps_of_styles([80, 24])
    assert default_steps(104) < steps <= 1.5 * default_steps(104)
    drawn = Counter(index for batch in batches({None: 80, "new": 24}, steps) for index in batch)
    for indices, alone in ((range(80), default_steps(80)), (range(80, 104), default_steps(24))):
        seen = [drawn[index] for index in indices]
        assert max(seen) - min(seen) <= 1  # all of a style equally often
        assert sum(seen) == pytest.approx(16 * alone, abs=2)


def test_each_batch_has_its_part_of_every_style() -> None:
    found = {sum(index >= 80 for index in batch) for batch in batches({None: 80, "new": 24}, 50)}
    assert len(found) <= 2
    assert max(found) - min(found) <= 1


def test_many_styles_make_no_run_much_longer() -> None:
    assert default_steps_of_styles([60]) == default_steps(60)
    assert default_steps_of_styles([60] * 9) == round(1.5 * default_steps(540))
    assert default_steps_of_styles([60, 1]) >= default_steps(61)
    assert default_steps_of_styles([10, 10], is_new_language=True) == default_steps(20, is_new_language=True)


@pytest.mark.parametrize("settings", [{"way": "decoder"}, {"way": "lora", "lora_parts": "decoder"}, {"way": "full"}])
def test_each_way_learns_the_tokens_row_and_no_word_is_added(settings: dict[str, Any]) -> None:
    base = checkpoint()
    before = with_style_tokens(base, TOKENS.values()).model.text_decoder.get_input_embeddings().weight[-1]
    result = trained([(OLD, None), (NEW, "new")], base, tokens=TOKENS, steps=3, batch_size=2, **settings)
    rows = result.checkpoint.model.text_decoder.get_input_embeddings().weight
    assert len(rows) == base.model.config.text_config.vocab_size + 1
    assert not torch.equal(rows[-1], before)
    assert result.new_pieces == 0


def test_the_loss_asks_for_neither_token_nor_prompt() -> None:
    tokenizer = with_style_tokens(checkpoint(), ["[style1]"]).tokenizer
    text = CaptionText.of(NEW, tokenizer, prompt="a picture of", style_token="[style1]")
    led = [tokenizer.convert_tokens_to_ids("[style1]"), *encode_caption(tokenizer, "a picture of")]
    assert text.ids == (*led, *encode_caption(tokenizer, NEW), tokenizer.sep_token_id)
    assert text.prompt == len(led)


def test_a_style_without_a_token_is_no_style_without_a_name() -> None:
    with pytest.raises(KeyError, match="new"):
        usable_examples(checkpoint(), examples([(NEW, "new")]), prompt="", style_tokens={})


def test_each_style_learns_its_own_capitals_and_spaces() -> None:
    """The normal form drops them, so that only the counting per style tells these two apart."""
    found = generation_for(
        GenerationSettings(),
        checkpoint(),
        ["Red car on a road"] * 3,
        in_styles={"titles": ["Red Car On A Road - Seen From Above"] * 3},
        tokens={"titles": "[style1]"},
    )
    assert found.writing.write("red car on a road") == "Red car on a road"
    assert found.styles["titles"].writing.write("red car on a road-seen from above") == (
        "Red Car On A Road - Seen From Above"
    )


def test_lengths_are_wide_enough_for_each_style_and_its_token() -> None:
    base = checkpoint()
    short, long = ["a car"], ["a car and a tree and a house and a boat and a fish and a cat and a dog and a sun"]
    alone = generation_for(GenerationSettings(), base, long)
    found = generation_for(GenerationSettings(), base, short, in_styles={"long": long}, tokens={"long": "[style1]"})
    assert found.max_length == alone.max_length + 1
    assert found.min_length == 1 + len(encode_caption(base.tokenizer, "a car")) + 1


def test_a_style_that_nobody_wrote_in_since_stays_as_it_is() -> None:
    before = GenerationSettings(
        styles={"old": TaughtStyle("[style1]", Writing(case="upper"))}, writing=Writing(case="title")
    )
    found = generation_for(before, checkpoint(), [], in_styles={"new": [NEW]}, tokens={"new": "[style2]"})
    assert found.styles["old"] == before.styles["old"]
    assert found.styles["new"].token == "[style2]"
    assert found.writing == before.writing
