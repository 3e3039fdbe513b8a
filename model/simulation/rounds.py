"""Simulation of active learning: a labelled dataset is corrected round by round, by each strategy.

A round is one turn of the loop: the champion captions the pool, `strategies.pick` and Label Studio's rule choose the
images, their labels become corrections, and a run trains on all corrections so far, except those held out for the gate.
The first round, before any version has learnt the style, is random and shared by all strategies, unless the plan says
otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice

import torch
from torch import Tensor

from captionloop.errors import SettingsError
from captionloop.model.active_learning.diversity import pooled
from captionloop.model.active_learning.strategies import STRATEGIES, Pick, Prospect, pick, serving_order
from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, generation_for
from captionloop.model.captioning.captioner import Beam, Captioner
from captionloop.model.captions.example import Example
from captionloop.model.captions.scripts import count_units
from captionloop.model.dataset.split import split_images
from captionloop.model.evaluation.gate import RULES, Rule, judge
from captionloop.model.metrics import DocumentFrequencies, evaluate_captions
from captionloop.model.metrics.word_changes import word_edits
from captionloop.model.simulation.confidence import COMPARE_VERSIONS, SIGNALS, Background
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings

RANDOM = "random"
_BATCH = 50  # images captioned at once


@dataclass(frozen=True)
class Material:
    """A labelled dataset.

    Args:
        pool: image hash → the caption that a person writes.
        unseen: the same for the test images.
        features: the base encoder's output for all of them, float (patches + 1, hidden).
    """

    pool: Mapping[str, str]
    unseen: Mapping[str, Sequence[str]]
    features: Mapping[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """Parameters of a simulation.

    Args:
        strategies: names of `strategies.STRATEGIES`.
        rounds: each ends with a run.
        first: corrections of the first round, random picks shared by all strategies.
        per_round: corrections of each later round.
        random_share: share of random picks among them.
        signal: the confidence signal for strategies, a name of `confidence.SIGNALS`.
        choose_first: let the strategies choose in the first round as well.
        as_many_words_as: a strategy against which "random" is run once more with the same number of words per round,
            instead of the same number of pictures.
        gate: the gate's rule; None always promotes.
        settings: of the runs.

    Raises:
        SettingsError: an unknown name, or settings that a simulation does not support.
    """

    strategies: Sequence[str]
    rounds: int = 2
    first: int = 20
    per_round: int = 40
    random_share: float = 0.1
    signal: str = "score"
    choose_first: bool = False
    as_many_words_as: str | None = None
    gate: Rule | None = None
    settings: FinetuneSettings = field(default_factory=FinetuneSettings)

    def __post_init__(self) -> None:
        _check("strategies", [name for name in self.strategies if name not in STRATEGIES], STRATEGIES)
        _check("signal", [self.signal] if self.signal not in SIGNALS else [], SIGNALS)
        _check("gate", [self.gate] if self.gate not in (None, *RULES) else [], RULES)
        like = self.as_many_words_as
        _check("as_many_words_as", [like] if like not in (None, *self.strategies) else [], self.strategies)
        if self.settings.trains_encoder:
            raise SettingsError(
                f"The way {self.settings.way!r} trains the image encoder; a simulation looks at each image once, so "
                "choose way=decoder, or way=lora with lora_parts=decoder."
            )
        if self.settings.replay < 1 or self.settings.validation_share:
            raise SettingsError(
                "The runs of a simulation learn from all corrections and keep the last weights; leave out replay and "
                "validation_share."
            )


@dataclass(frozen=True)
class Point:
    """Results of a strategy after a round.

    Args:
        strategy: its name; `same_words(name)` for random picks with the same number of words.
        seed, round: round 0 is before the first.
        corrections: number of corrected pictures so far.
        words: number of words in their captions.
        unchanged: share of the test images whose caption is right word for word.
        cider_d: on the test images, 0 to 10.
        asked_unchanged: the unchanged share of the pictures chosen in this round, by the champion at that time.
    """

    strategy: str
    seed: int
    round: int
    corrections: int
    words: int
    unchanged: float
    cider_d: float
    asked_unchanged: float | None


@dataclass(frozen=True)
class _Version:
    checkpoint: Checkpoint
    generation: GenerationSettings
    written: dict[str, list[Beam]] = field(default_factory=dict)  # pool image → its captions, the served one first

    @cached_property
    def captioner(self) -> Captioner:
        return Captioner(self.checkpoint, version="simulated", generation=self.generation, precision="fp32")


@dataclass(frozen=True)
class _State:
    """State of one strategy."""

    champion: _Version
    before: _Version | None = None  # the previous champion
    asked: tuple[str, ...] = ()
    solved: Mapping[int | None, int] = field(default_factory=dict)


def same_words(strategy: str) -> str:
    """The name of random picks with as many words as a strategy's."""
    return f"random, with the words of {strategy}"


def simulate(
    base: Captioner,
    materials: Callable[[int], Material],
    plan: Plan,
    *,
    seeds: Sequence[int],
    on_point: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Replay a dataset for each strategy and seed.

    Args:
        base: the initial version.
        materials: seed → dataset.
        plan: parameters.
        seeds: of picking and training; the same for all strategies.
        on_point: called with each result.

    Raises:
        SettingsError: the share of random picks is out of range.
        RunError: training failed.
    """
    points: list[Point] = []

    def found(point: Point) -> None:
        points.append(point)
        on_point(point)

    for seed in seeds:
        _Replay(base, materials(seed), plan, seed).run(found)
    return points


class _Replay:
    """One seed."""

    def __init__(self, base: Captioner, material: Material, plan: Plan, seed: int) -> None:
        self._material, self._plan, self._seed = material, plan, seed
        self._begin = _Version(base.checkpoint, base.generation)
        self._images = list(material.pool)
        self._pooled = pooled(torch.stack([material.features[image] for image in self._images]))
        self._signal = SIGNALS[plan.signal]

    def run(self, found: Callable[[Point], None]) -> None:
        """Simulate all strategies from the same first round; `found` is given each point."""
        plan = self._plan
        start = _State(self._begin)
        shared = [self._point(RANDOM, 0, start, None)]
        if not plan.choose_first:
            picks = list(islice(self._order(start, RANDOM), plan.first))
            start, asked_unchanged = self._round(start, picks)
            shared.append(self._point(RANDOM, 1, start, asked_unchanged))
        words: dict[str, list[int]] = {}  # after each round
        arms: list[tuple[str, str, str | None]] = [(strategy, strategy, None) for strategy in plan.strategies]
        if plan.as_many_words_as:
            arms.append((same_words(plan.as_many_words_as), RANDOM, plan.as_many_words_as))
        for name, strategy, like in arms:
            for point in shared:
                found(replace(point, strategy=name))
            words[name] = [point.words for point in shared]
            state = start
            for number in range(len(shared), plan.rounds + 1):
                order = self._order(state, strategy)
                if like is None:
                    picks = list(islice(order, plan.first if number == 1 else plan.per_round))
                else:
                    picks = self._as_many_words(order, words[like][number] - words[name][-1])
                state, asked_unchanged = self._round(state, picks)
                point = self._point(name, number, state, asked_unchanged)
                words[name].append(point.words)
                found(point)

    def _order(self, state: _State, strategy: str) -> Iterator[Pick]:
        """The annotation order."""
        asked = set(state.asked)
        waiting = [place for place, image in enumerate(self._images) if image not in asked]
        if strategy == RANDOM:
            prospects = [Prospect(place, 0.0, self._pooled[place]) for place in waiting]
        else:
            sure = self._sure(state, [self._images[place] for place in waiting])
            prospects = [Prospect(place, sure[self._images[place]], self._pooled[place]) for place in waiting]
        picks = pick(prospects, strategy, random_share=self._plan.random_share, seed=self._seed)
        return iter(picks) if strategy == RANDOM else serving_order(picks, state.solved)

    def _sure(self, state: _State, images: Sequence[str]) -> dict[str, float]:
        """The confidence signal for images of the pool: 0 (uncertain) to 1 (certain)."""
        frequencies = DocumentFrequencies.of([self._material.pool[image]] for image in state.asked)
        written = self._written(state.champion, images)
        compared = state.before if self._plan.signal in COMPARE_VERSIONS else None
        earlier = (
            {image: _served(beams) for image, beams in self._written(compared, images).items()} if compared else {}
        )
        return {image: self._signal(written[image], Background(frequencies, earlier.get(image))) for image in images}

    def _as_many_words(self, order: Iterable[Pick], words: int) -> list[Pick]:
        chosen: list[Pick] = []
        for candidate in order:
            needed = _words(self._material.pool[self._images[candidate.key]])
            if needed / 2 > words:  # stopping here is closer
                break
            chosen.append(candidate)
            words -= needed
        return chosen

    def _round(self, state: _State, picks: Sequence[Pick]) -> tuple[_State, float]:
        """The state after these corrections and a run, and the unchanged share."""
        images = [self._images[chosen.key] for chosen in picks]
        written = self._written(state.champion, images)
        unchanged = [word_edits(_served(written[image]), self._material.pool[image]) == 0 for image in images]
        asked = (*state.asked, *images)
        champion = self._run(state.champion, asked)
        solved = Counter(state.solved)
        solved.update(chosen.cluster for chosen in picks)
        before = state.before if champion is state.champion else state.champion
        return _State(champion, before, asked, solved), sum(unchanged) / max(len(unchanged), 1)

    def _run(self, champion: _Version, asked: Sequence[str]) -> _Version:
        """Train as `jobs.learning.finetune_run` does."""
        captions = {image: self._material.pool[image] for image in asked}
        split = split_images(captions)
        result = finetune(
            champion.checkpoint,
            [Example(number, image, captions[image]) for number, image in enumerate(split.train, start=1)],
            settings=replace(self._plan.settings, seed=self._seed),
            features=self._material.features,
            tell=partial(self._captions, champion),
        )
        generation = generation_for(champion.generation, result.checkpoint, captions.values())
        candidate = _Version(result.checkpoint, generation)
        if self._plan.gate is None:
            return candidate
        verdict = judge(
            {image: [captions[image]] for image in split.held_out},
            self._captions(champion, split.held_out),
            self._captions(candidate, split.held_out),
            corpus=[[caption] for caption in captions.values()],
            rule=self._plan.gate,
        )
        return candidate if verdict.promote else champion

    def _point(self, name: str, number: int, state: _State, asked_unchanged: float | None) -> Point:
        unseen = self._material.unseen
        evaluation = evaluate_captions(unseen, self._captions(state.champion, list(unseen)))
        return Point(
            strategy=name,
            seed=self._seed,
            round=number,
            corrections=len(state.asked),
            words=sum(_words(self._material.pool[image]) for image in state.asked),
            unchanged=evaluation.exact_match,
            cider_d=evaluation.cider_d,
            asked_unchanged=asked_unchanged,
        )

    def _written(self, version: _Version, images: Sequence[str]) -> Mapping[str, list[Beam]]:
        missing = [image for image in images if image not in version.written]
        captioner = version.captioner
        for features, some in self._batches(missing):
            for image, beams in zip(some, captioner.beams(features), strict=True):
                version.written[image] = beams
        return version.written

    def _captions(self, version: _Version, images: Sequence[str]) -> dict[str, str]:
        captioner = version.captioner
        return {
            image: suggestion.caption
            for features, some in self._batches(images)
            for image, suggestion in zip(some, captioner.caption_features(features), strict=True)
        }

    def _batches(self, images: Sequence[str]) -> Iterator[tuple[Tensor, Sequence[str]]]:
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            yield torch.stack([self._material.features[image] for image in some]), some


def _check(name: str, wrong: Sequence[object], known: Iterable[str]) -> None:
    if wrong:
        raise SettingsError(f"{name} of a simulation: {wrong[0]!r} is none of {', '.join(known)}.")


def _served(beams: Sequence[Beam]) -> str:
    return beams[0].scored.caption


def _words(caption: str) -> int:
    return sum(len(count_units(word)) for word in caption.split())
