"""The loop replayed, with a model so small that it writes nonsense: what is asked, learnt from and told."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.model.captioning.published_layout import write_base

from captionloop.errors import SettingsError
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Beam, Captioner
from captionloop.model.dataset.split import split_images
from captionloop.model.simulation import rounds
from captionloop.model.simulation.confidence import SIGNALS, Background
from captionloop.model.simulation.rounds import Material, Plan, Point, same_words, simulate
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings

IMAGES = [f"{number:064x}" for number in range(40)]
QUICK = FinetuneSettings(steps=2, batch_size=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    directory = write_base(tmp_path_factory.mktemp("models") / "base")
    generation = GenerationSettings(num_beams=2, min_length=3, max_length=8)
    return Captioner.load(directory, version="base", generation=generation, precision="fp32")


def material(seed: int) -> Material:
    """Captions of one to five words, and noise for features."""
    generator = torch.Generator().manual_seed(seed)
    captions = {image: " ".join(["a red car on grass"][0].split()[: 1 + n % 5]) for n, image in enumerate(IMAGES)}
    return Material(
        pool={image: captions[image] for image in IMAGES[:30]},
        unseen={image: [captions[image]] for image in IMAGES[30:]},
        features={image: torch.randn(5, 32, generator=generator) for image in IMAGES},
    )


def plan(**given: Any) -> Plan:
    values: dict[str, Any] = {"strategies": ["random"], "first": 6, "per_round": 5, "settings": QUICK} | given
    return Plan(**values)


def run(base: Captioner, chosen: Plan, seeds: Sequence[int] = (0,)) -> list[Point]:
    return simulate(base, material, chosen, seeds=seeds)


def test_every_strategy_is_told_before_and_after_each_round(base: Captioner) -> None:
    points = run(base, plan(strategies=["random", "uncertainty"], rounds=3), seeds=[0, 1])

    assert [(p.strategy, p.seed, p.round, p.corrections) for p in points] == [
        (strategy, seed, number, corrections)
        for seed in (0, 1)
        for strategy in ("random", "uncertainty")
        for number, corrections in enumerate((0, 6, 11, 16))
    ]


def test_the_first_round_is_the_same_for_all_strategies(base: Captioner) -> None:
    points = run(base, plan(strategies=["random", "diversity"]))

    first = [replace(point, strategy="") for point in points if point.round == 1]

    assert first[0] == first[1]


def test_strategies_may_choose_in_the_first_round_as_well(base: Captioner) -> None:
    points = run(base, plan(strategies=["random", "diversity"], choose_first=True))

    assert [point.corrections for point in points] == [0, 6, 11] * 2
    first = [replace(point, strategy="") for point in points if point.round == 1]
    assert first[0] != first[1]


def test_the_same_seed_gives_the_same_points(base: Captioner) -> None:
    chosen = plan(strategies=["uncertainty_diversity"])

    assert run(base, chosen, seeds=[3]) == run(base, chosen, seeds=[3])


def test_words_are_those_of_the_captions_that_were_asked_for(base: Captioner) -> None:
    everything = plan(first=15, per_round=15)

    words = run(base, everything)[-1].words

    assert words == sum(len(caption.split()) for caption in material(0).pool.values())


def test_random_picks_may_go_on_until_they_have_as_many_words(base: Captioner) -> None:
    points = run(base, plan(strategies=["uncertainty"], as_many_words_as="uncertainty"))

    words = {point.strategy: point.words for point in points if point.round == 2}

    assert words[same_words("uncertainty")] == pytest.approx(words["uncertainty"], abs=3)


def test_images_held_out_for_the_gate_are_not_learnt_from(base: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[set[str]] = []
    real = finetune

    def noting(checkpoint: Any, examples: Any, **given: Any) -> Any:
        learnt.append({example.image for example in examples})
        return real(checkpoint, examples, **given)

    monkeypatch.setattr(rounds, "finetune", noting)

    run(base, plan(first=20, per_round=10))

    everything = split_images(material(0).pool)
    assert learnt[1] == set(everything.train)
    assert not learnt[0] & set(everything.held_out)


def test_a_version_that_the_gate_rejects_is_not_gone_on_from(base: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    real = finetune

    def noting(checkpoint: Any, examples: Any, **given: Any) -> Any:
        begun.append(checkpoint)
        return real(checkpoint, examples, **given)

    monkeypatch.setattr(rounds, "finetune", noting)

    points = run(base, plan(gate="never", rounds=3))

    assert all(checkpoint is base.checkpoint for checkpoint in begun)
    assert len({point.unchanged for point in points}) == 1


def test_chance_alone_decides_the_order_of_random_picks(base: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNALS, "score", lambda *_: random.random())

    once, again = run(base, plan()), run(base, plan())

    assert [point.words for point in once] == [point.words for point in again]


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_each_signal_can_be_gone_by(base: Captioner, signal: str) -> None:
    points = run(base, plan(strategies=["uncertainty"], signal=signal, rounds=3, choose_first=True))

    assert [point.corrections for point in points] == [0, 6, 11, 16]


def test_a_signal_knows_the_corrections_so_far_and_what_the_version_before_wrote(
    base: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[int, set[bool]] = {}

    def noting(beams: Sequence[Beam], background: Background) -> float:
        known.setdefault(background.frequencies.images, set()).add(background.previous is not None)
        return 0.5

    monkeypatch.setitem(SIGNALS, "previous_version", noting)

    run(base, plan(strategies=["uncertainty"], signal="previous_version", rounds=3, choose_first=True))

    assert known == {0: {False}, 6: {True}, 11: {True}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": ["entropy"]}, "strategies of a simulation: 'entropy' is none of random, uncertainty"),
        ({"signal": "mood"}, "signal of a simulation: 'mood' is none of score"),
        ({"gate": "perhaps"}, "gate of a simulation: 'perhaps' is none of better"),
        ({"as_many_words_as": "uncertainty"}, "as_many_words_as of a simulation: 'uncertainty' is none of random"),
        ({"settings": FinetuneSettings(way="full")}, "'full' trains the image encoder"),
        ({"settings": FinetuneSettings(replay=0.5)}, "leave out replay and validation_share"),
        ({"settings": FinetuneSettings(validation_share=0.2)}, "leave out replay and validation_share"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(**given)
