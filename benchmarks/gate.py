"""How often the gate is right, on candidates of known quality: `python -m benchmarks.gate [--rounds 5]`.

In each round a champion has learnt a house style from few corrections, and twelve candidates are trained from it: on
more corrections, on careless or shuffled ones, in the old style, with too high a rate or too few steps. Champion and
candidate caption 40 held-out images, on which the gate decides, and 1,000 others, for the true difference in CIDEr-D +
BLEU-4.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from benchmarks.house_style import Learner, Pool, captions_of

from captionloop.model.captioning.captioner import Captioner
from captionloop.model.evaluation.gate import judge
from captionloop.model.metrics import evaluate_captions
from captionloop.model.starter import STARTER_DIR
from captionloop.model.starter.scenes import caption as canonical
from captionloop.model.starter.styles import STYLES
from captionloop.model.training.settings import FinetuneSettings

_HELD_OUT = 40
_CHAMPION = 16  # corrections that the champion has learnt from
_MUCH = 0.3  # of CIDEr-D + BLEU-4
_SURE = 0.8


@dataclass(frozen=True)
class Case:
    """A candidate: its worth beside the champion's, and what was decided by the gate and by two plain rules."""

    name: str
    truth: float
    gate: bool
    difference_above_0: bool
    probability_high: bool


def candidates(pool: Pool, wanted: dict[str, str], seed: int) -> Iterator[tuple[str, dict[str, str], FinetuneSettings]]:
    """Name, captions to learn from, settings."""
    names = list(wanted)
    fine = FinetuneSettings(seed=seed + 1)
    style = {name: wanted[name] for name in names}

    def first(count: int, captions: dict[str, str]) -> dict[str, str]:
        return {name: captions[name] for name in names[:count]}

    for count in (_CHAMPION, 40, 60, 120):
        yield f"{count} corrections", first(count, style), fine
    for share in (0.15, 0.4):
        careless = captions_of(pool, STYLES[_style(seed)], careless=share, seed=seed)
        yield f"60, {share:.0%} careless", first(60, careless), fine
    for share in (0.3, 1.0):
        yield f"60, {share:.0%} mixed up", _mixed_up(first(60, style), share, seed), fine
    yield "old style", first(60, {name: canonical(scene) for name, scene in pool.scenes.items()}), fine
    for rate in (4e-3, 1e-2):
        yield f"60, rate {rate:g}", first(60, style), FinetuneSettings(seed=seed + 1, learning_rate=rate)
    yield "15, 60 steps", first(15, style), FinetuneSettings(seed=seed + 1, steps=60)


def _mixed_up(captions: dict[str, str], share: float, seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    chosen = rng.sample(list(captions), round(share * len(captions)))
    dealt = rng.sample(chosen, len(chosen))
    return captions | {name: captions[other] for name, other in zip(chosen, dealt, strict=True)}


def _style(seed: int) -> str:
    return sorted(STYLES)[seed % len(STYLES)]


def written(captioner: Captioner, pool: Pool) -> dict[str, str]:
    names = list(pool.scenes)
    found: dict[str, str] = {}
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        suggestions = captioner.caption_features(torch.stack([pool.features[name] for name in some]))
        found |= {name: suggestion.caption for name, suggestion in zip(some, suggestions, strict=True)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--unseen", type=int, default=1000)
    options = parser.parse_args()
    learner = Learner(STARTER_DIR)
    unseen = learner.pool("unseen", options.unseen)
    cases: list[Case] = []
    for seed in range(options.rounds):
        style = STYLES[_style(seed)]
        pool = learner.pool(f"gate-{seed}", 120)
        held_out = learner.pool(f"held-out-{seed}", _HELD_OUT)
        truth = {name: [style(scene)] for name, scene in unseen.scenes.items()}
        references = {name: [style(scene)] for name, scene in held_out.scenes.items()}
        wanted = {name: style(scene) for name, scene in pool.scenes.items()}
        champion = learner.corrected(pool, dict(list(wanted.items())[:_CHAMPION]), FinetuneSettings(seed=seed))
        champions, champions_unseen = written(champion, held_out), evaluate_captions(truth, written(champion, unseen))
        for name, captions, settings in candidates(pool, wanted, seed):
            candidate = learner.corrected(pool, captions, settings)
            found = evaluate_captions(truth, written(candidate, unseen))
            verdict = judge(
                references, champions, written(candidate, held_out), corpus=[[text] for text in wanted.values()]
            )
            worth = found.cider_d + found.bleu_4 - champions_unseen.cider_d - champions_unseen.bleu_4
            cases.append(Case(name, worth, verdict.promote, verdict.difference > 0, verdict.probability >= _SURE))
            said = "promoted" if verdict.promote else "rejected"
            print(
                f"{_style(seed):20} {name:20} worth {worth:+6.2f}, held-out {verdict.difference:+6.2f}: {said}",
                flush=True,
            )
    for rule in ("gate", "difference_above_0", "probability_high"):
        print(summary(rule, cases))


def summary(rule: str, cases: list[Case]) -> str:
    accepted = [case for case in cases if getattr(case, rule)]
    missed = [case for case in cases if not getattr(case, rule) and case.truth > 0]
    worse = [case for case in accepted if case.truth < 0]
    return (
        f"{rule:20} of {len(cases)}: {len(accepted)} accepted, {len(worse)} of them worse "
        f"({sum(case.truth < -_MUCH for case in worse)} by more than {_MUCH}); "
        f"{len(missed)} of {sum(case.truth > 0 for case in cases)} better ones missed "
        f"({sum(case.truth > _MUCH for case in missed)} by more than {_MUCH})"
    )


if __name__ == "__main__":
    main()
