"""One trial of a sweep: train on a part of a run's training images, and score on the rest.

The gate's images are not used, and nothing but figures is stored.
"""

from functools import partial
from typing import TYPE_CHECKING

from captionloop.jobs.context import Context
from captionloop.jobs.learning.inputs import learnt_by
from captionloop.jobs.learning.scratch import STATE, scratch_directory
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint
from captionloop.model.database import Sweep
from captionloop.model.dataset import corrections
from captionloop.model.dataset.split import VALIDATION_SHARE, apart_from, set_aside
from captionloop.model.dataset.styles import ProjectStyles
from captionloop.model.finetuning.finetuning import identity
from captionloop.model.finetuning.pictures import EncodedPictures
from captionloop.model.finetuning.run_styles import RunStyles
from captionloop.model.finetuning.training_set import training_set
from captionloop.model.finetuning.validation_images import Validation
from captionloop.model.metrics import Score
from captionloop.model.sweep.search_space import SearchSpace
from captionloop.model.training.loop import finetune
from captionloop.model.training.resume_state import TrainingState

if TYPE_CHECKING:
    from captionloop.model.sweep.trials import OngoingTrial


def run_trial(context: Context, sweep: Sweep, trial: "OngoingTrial") -> Score:
    """Run a trial; one that repeats another, whose worker was killed, resumes from its checkpoint.

    Returns:
        The score on the validation images.

    Raises:
        TrialPruned: the other trials were better at the same point.
        RunCancelled: the sweep was cancelled.
        RunLost: the trial was given up, and another one retries it.
        RunError: training failed, for example because of a much too high rate.
        CheckpointError: the champion does not load.
        CaptionloopError: the snapshot is gone or damaged.
    """
    champion = context.versions.get(sweep.project_id, sweep.champion)
    space = SearchSpace.from_dict(sweep.space)
    settings = space.settings({"prompt": champion.generation.prompt, **space.fixed, **trial.choice})
    snapshot = corrections.read_snapshot(context.home.datasets / f"{sweep.snapshot}.jsonl")
    usable = set(snapshot.split().train)
    captioner = context.captioner(champion)
    with context.database.reading() as session:
        current = ProjectStyles.of(session, sweep.project_id).current
    known = [example for example in snapshot.examples if example.image in usable]
    styles = RunStyles.of(known, captioner, current=current)
    references = {image: texts for image, texts in snapshot.references(styles.served).items() if image in usable}
    judged_by, _ = set_aside(references, VALIDATION_SHARE, split_with=snapshot.split_with)
    rest = apart_from(judged_by, usable, snapshot.split_with)
    # A trial splits off the same validation images as a run with these settings.
    chosen_by, _ = set_aside(
        [image for image in rest if image in references], settings.validation_share, split_with=snapshot.split_with
    )
    training = apart_from(chosen_by, rest, snapshot.split_with)

    def go_on() -> None:
        context.queue.sweeps.check_cancelled(sweep.id)
        trial.check()

    images = [*rest, *judged_by]
    features = (
        None if settings.trains_encoder else EncodedPictures(context.pictures, captioner, images, lambda share: go_on())
    )
    validation = partial(
        Validation,
        context.pictures,
        references=references,
        generation=partial(styles.generation, champion.generation),
        features=features,
    )
    judged = validation(images=judged_by)

    def watch(share: float, checkpoint: Checkpoint) -> None:
        trial.report(round(100 * share), judged.validate(checkpoint).score.value)

    root = context.home.runs / sweep.id / str(trial.record.first)
    learnt = learnt_by(context, champion)
    with scratch_directory(root, trial.record.number) as scratch:
        result = finetune(
            load_checkpoint(champion.path, device=captioner.device),
            training_set(snapshot, set(training), settings, champion=champion.version, learnt=learnt),
            settings=settings,
            features=features,
            pictures=context.pictures.open,
            style_tokens=styles.tokens,
            tell=partial(context.pictures.all_captions, captioner, before_each=go_on),
            validate=validation(images=chosen_by).validate if chosen_by else None,
            watch=watch,
            state=TrainingState(scratch / STATE, identity(snapshot, champion.version, settings)),
            on_progress=lambda progress: go_on(),
        )
    return judged.validate(result.checkpoint).score
