"""Fine-tuning, from the examples to the verdict:

image features → training → champion and candidate caption the same held-out images → verdict
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from captionloop.batches import batches
from captionloop.errors import RunError
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.split import Split, apart_from, set_aside
from captionloop.model.evaluation.comparison_file import COMPARISON, write_comparison
from captionloop.model.evaluation.forgetting import EarlierStyle, earlier_style, not_forgetting
from captionloop.model.evaluation.gate import Rule, Verdict, judge
from captionloop.model.finetuning.pictures import BATCH, EncodedPictures, Pictures
from captionloop.model.finetuning.run_styles import RunStyles, held_out_in, writing_in
from captionloop.model.finetuning.training_set import training_set
from captionloop.model.finetuning.validation_images import Validation
from captionloop.model.training.log import TrainingLog
from captionloop.model.training.loop import TrainingProgress, finetune
from captionloop.model.training.resume_state import TrainingState
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.validation import ValidationResult


class Report(Protocol):
    """Receives progress. Each call may raise RunCancelled, except `training`, after which `is_cancelled` is checked,
    since processes that train together must end together.
    """

    def __call__(self, stage: str, share: float = 0.0) -> None: ...
    def training(self, progress: TrainingProgress) -> None: ...
    def is_cancelled(self) -> bool: ...


@dataclass(frozen=True)
class Trained:
    """The result of the training, as plain data, once the new model is in its directory."""

    settings: dict[str, Any]
    generation: dict[str, Any]
    examples: int
    new_tokens: int
    steps: int


@dataclass(frozen=True)
class Finetuning:
    """One fine-tuning.

    Args:
        snapshot: the corrections.
        champion: the model to train from, and to compare with.
        source: of its weights.
        learnt: the snapshot that it was trained on, if any.
        settings: how to train.
        pictures: of the snapshot.
        files: the directory for the new model, its log and the comparison.
        state: the checkpoint file to resume from; its identity is `identity`.
        log: opens the training log.
        report: receives progress.
        rule: the gate's.
        style: the project's current style; None is the one without a name.
        open_styles: the styles that are not to be forgotten, of those that the champion knows.
    """

    snapshot: Snapshot
    champion: Captioner
    source: str | Path
    learnt: Snapshot | None
    settings: FinetuneSettings
    pictures: Pictures
    files: Path
    state: TrainingState
    log: Callable[[], TrainingLog]
    report: Report
    rule: Rule
    style: str | None = None
    open_styles: Sequence[str | None] = ()

    @cached_property
    def split(self) -> Split:
        """
        Raises:
            RunError: all images are held out.
        """
        split = self.snapshot.split()
        if not split.train:
            raise RunError(
                f"There is nothing to learn from: all {len(split.held_out)} captioned images are held out, since they "
                "look alike or are few. Caption other images first."
            )
        return split

    @cached_property
    def styles(self) -> RunStyles:
        return RunStyles.of(self.snapshot.examples, self.champion, current=self.style)

    @cached_property
    def judged_on(self) -> tuple[str, ...]:
        """The held-out images, as far as they have captions in the style that is served.

        Raises:
            RunError: all images are held out, or none with such captions.
        """
        served = self.styles.served
        return held_out_in(served, self.split.held_out, self.snapshot.references(served))

    def fit(self) -> Trained:
        """Train, and save the new model to its directory (the main process, of several).

        Raises:
            RunError: there are no examples to train on, or training failed.
            RunCancelled: raised by the report.
        """
        self.judged_on  # noqa: B018 (raises before anything is trained)
        examples, validation = self.examples()
        features = self.encoded(examples, validation)
        new_generation = partial(self.styles.generation, self._generation)
        validated = Validation(
            self.pictures,
            references=self.snapshot.references(self.styles.served),
            images=validation,
            generation=new_generation,
            features=features,
        )
        with self.log() as log:
            result = finetune(
                self._start(),
                examples,
                settings=self.settings,
                features=features,
                pictures=self.pictures.open,
                tell=self._own_captions,
                style_tokens=self.styles.tokens,
                validate=validated.validate if validation else None,
                log=log,
                state=self.state,
                on_progress=self.report.training,
                should_stop=self.report.is_cancelled,
            )
        generation = new_generation(result.checkpoint)
        if result.is_main:
            save_checkpoint(result.checkpoint, self.files, generation=generation)
            result.trainable.save_adapter(self.files / "adapter")
        return Trained(
            settings=result.settings.to_dict(),
            generation=generation.to_dict(),
            examples=result.examples,
            new_tokens=result.new_pieces,
            steps=len(result.losses),
        )

    def examples(self) -> tuple[list[Example], Sequence[str]]:
        """The training examples, new or replayed, and the validation images, which have captions to be served."""
        in_style = self.snapshot.references(self.styles.served)
        validation, _ = set_aside(
            [image for image in self.split.train if image in in_style],
            self.settings.validation_share,
            split_with=self.snapshot.split_with,
        )
        training = apart_from(validation, self.split.train, self.snapshot.split_with)
        chosen = training_set(
            self.snapshot, set(training), self.settings, champion=self.champion.version, learnt=self.learnt
        )
        return chosen, validation

    def encoded(self, examples: Sequence[Example], validation: Sequence[str]) -> EncodedPictures | None:
        """The champion's features of the images, also written to the cache; None if the encoder is trained."""
        if self.settings.trains_encoder:
            return None
        images = list(dict.fromkeys([*(example.image for example in examples), *validation]))
        return EncodedPictures(self.pictures, self.champion, images, partial(self.report, "reading images"))

    def compare(self, trained: Trained) -> Verdict:
        """Caption the held-out images with both models, store the captions in the directory, and judge.

        Both write in the style that is served; the champion in its own, if it does not know that one.
        """
        served, candidate = self.styles.served, self._candidate(trained)
        everything = self.snapshot.references(served)
        references, corpus = {image: everything[image] for image in self.judged_on}, everything.values()
        written = self._captions_of_both(self.judged_on, candidate, served)
        write_comparison(
            self.files / COMPARISON,
            champion=self.champion.version,
            references=references,
            champion_captions=written["champion"],
            candidate_captions=written["candidate"],
            corpus=corpus,
            style=candidate.generation.named_style,
        )
        with self.log() as log:
            log.begin(trained.steps, trained.settings)
            found = ValidationResult.of(references, written["candidate"], corpus=corpus)
            log.evaluation(trained.steps, found, images="held-out")
        verdict = judge(references, written["champion"], written["candidate"], corpus=corpus, rule=self.rule)
        return not_forgetting(verdict, list(self._earlier_styles(candidate)), rule=self.rule)

    def _earlier_styles(self, candidate: Captioner) -> Iterator[EarlierStyle]:
        """The styles beside the served one that the champion knows, and what the candidate makes of them."""
        for style in self.open_styles:
            everything = self.snapshot.references(style)
            references = {image: everything[image] for image in self.split.held_out if image in everything}
            is_known = style is None or style in self.champion.generation.styles
            if references and is_known and style != self.styles.served:
                written = self._captions_of_both(list(references), candidate, style)
                yield earlier_style(
                    style, references, written["champion"], written["candidate"], corpus=list(everything.values())
                )

    @property
    def _generation(self) -> GenerationSettings:
        """The champion's, with the prompt that is trained with: captions have to begin as in training."""
        return replace(self.champion.generation, prompt=self.settings.prompt)

    def _own_captions(self, images: Sequence[str]) -> dict[str, str]:
        """The champion's captions of any number of images."""
        return self.pictures.all_captions(
            self.champion, images, before_each=partial(self.report, "reading images", 1.0)
        )

    def _start(self) -> Checkpoint:
        """The champion in float32: the captioning model itself if it is, since training does not change it."""
        if self.champion.precision == "fp32":
            return self.champion.checkpoint
        return load_checkpoint(self.source, device=self.champion.device)

    def _captions_of_both(
        self, images: Sequence[str], candidate: Captioner, style: str | None
    ) -> dict[str, dict[str, str]]:
        champion, candidate = writing_in(self.champion, style), writing_in(candidate, style)
        written: dict[str, dict[str, str]] = {"champion": {}, "candidate": {}}
        for batch in batches(images, BATCH):
            self.report("comparing", len(written["champion"]) / len(images))
            written["champion"] |= self.pictures.captions(champion, batch)
            written["candidate"] |= self.pictures.captions(candidate, batch)
        return written

    def _candidate(self, trained: Trained) -> Captioner:
        """The candidate as it will serve: loaded from its files, in the precision of serving."""
        return Captioner(
            load_checkpoint(self.files, device=self.champion.device),
            version="candidate",
            generation=GenerationSettings.from_dict(trained.generation),
            precision=self.champion.precision,
        )


def identity(snapshot: Snapshot, champion: str, settings: FinetuneSettings) -> dict[str, Any]:
    """Identifies model, data and settings, as plain data: a checkpoint with another identity is not resumed from."""
    return {"snapshot": snapshot.hash, "champion": champion} | settings.to_dict()


def figures(verdict: Verdict) -> dict[str, Any]:
    """The candidate's metrics and the gate's figures."""
    return {**verdict.candidate.to_dict(), "gate": verdict.to_dict()}
