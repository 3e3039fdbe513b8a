"""Fine-tuning BLIP on corrections: `finetune` is the whole run, top to bottom, for all three ways.

`trainable` selects the weights, `caption_targets` has labels and loss, `settings` the settings, `resume_state` the
checkpoint of a run in progress, `log` the training log.

Processes started together (by torchrun, `accelerate launch` or `jobs.processes`) train one model, data-parallel: each
computes its share of every batch, and the gradients are summed, so that a step equals that of one process. Decisions
that end a step early are taken by all processes together. Only the main process logs, saves and reports progress.

Shapes: B examples in a batch, L tokens, P image patches, H width of the image encoder.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from captionloop.device import computes_in_bf16, give_back_memory, is_gpu, own_random_numbers
from captionloop.errors import RunCancelled, RunError
from captionloop.model.blip.checkpoint import Checkpoint
from captionloop.model.captions.example import Example
from captionloop.model.captions.scripts import scripts_of
from captionloop.model.training.caption_targets import (
    Rejected,
    asked_for,
    caption_loss,
    nothing_left,
    usable_examples,
)
from captionloop.model.training.examples import FeatureSource, PictureSource, TrainingData
from captionloop.model.training.log import StepFigures, TrainingLog, memory_mib
from captionloop.model.training.resume_state import Resumed, TrainingState
from captionloop.model.training.settings import (
    FinetuneSettings,
    Schedule,
    default_learning_rate,
    default_steps_of_styles,
)
from captionloop.model.training.trainable import Trainable
from captionloop.model.training.validation import ValidationResult
from captionloop.model.vocabulary.extension import Telling, extended_checkpoint, share_in_new_language
from captionloop.model.vocabulary.style_tokens import with_style_tokens

logger = logging.getLogger(__name__)

Validate = Callable[[Checkpoint], ValidationResult]
"""Evaluates a checkpoint on the validation images."""
Watching = Callable[[float, Checkpoint], None]
"""Called with the share of steps done, 0 to 1, and the present weights."""

_STATE_EVERY_S = 30.0
_REPORT_EVERY_S = 1.0
_VALIDATIONS = 8  # spread over the run
_WORDS_FIRST = 0.4  # share of the steps
_RATE_OF_WORDS = 5.0
_MANY = 0.1  # share of the captions that makes it worthwhile to learn their language well
# On a CPU micro-batches of 8 pictures of 577 patches are as fast as 16, with 3 GB less.
_PATCHES_AT_ONCE = 4_700
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")  # PyTorch's messages on a CPU


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a run. The loss is smoothed over about ten steps and includes label smoothing."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    examples_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        """For the log."""
        return (
            f"step {self.step} of {self.steps}  loss {self.loss:.4f}  rate {self.learning_rate:.2g}  gradient "
            f"{self.gradient_norm:.2f}  {self.examples_per_second:.0f} captions/s  {self.seconds_left:.0f} s left"
        )


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """The new checkpoint, and how it was trained. A frozen encoder is shared with the original checkpoint.

    Args:
        checkpoint: in evaluation mode, on the device of the original.
        trainable: the trained model; `save_adapter` writes LoRA's adapter.
        settings: with all defaults resolved: the learning rate and number of steps that were used.
        examples: how many were trained on.
        rejected: those that were left out.
        new_pieces: number of tokens that were added to the vocabulary for words.
        losses: of each step, with label smoothing.
        best_step: the step whose weights were kept.
        seconds: duration of the run, or since it was resumed.
        is_main: whether this is the main process, the only one whose result is to be used.
    """

    checkpoint: Checkpoint
    trainable: Trainable
    settings: FinetuneSettings
    examples: int
    rejected: tuple[Rejected, ...]
    new_pieces: int
    losses: tuple[float, ...]
    best_step: int
    seconds: float
    is_main: bool


def finetune(
    checkpoint: Checkpoint,
    examples: Sequence[Example],
    *,
    settings: FinetuneSettings,
    features: FeatureSource | None = None,
    pictures: PictureSource | None = None,
    tell: Telling | None = None,
    style_tokens: Mapping[str, str] | None = None,
    validate: Validate | None = None,
    watch: Watching | None = None,
    log: TrainingLog | None = None,
    state: TrainingState | None = None,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FinetuneResult:
    """Train a copy of the checkpoint on captions, its vocabulary extended where they need it (`model.vocabulary`).

    Args:
        checkpoint: the version to start from; it is not changed.
        examples: captions with their images.
        settings: how to train.
        features: the frozen encoder's output for the examples' images; for a way that does not train the encoder.
        pictures: the images; for a way that trains it.
        tell: the checkpoint's own captions of images, from which new tokens are initialised by alignment. None: from
            their former pieces.
        style_tokens: the token that leads in the captions of a style, for each style that an example names; those that
            the vocabulary lacks are added.
        validate: evaluates on images that are not among the examples; the best weights are kept. None keeps the last
            ones.
        watch: called as often as validation, without influence on the weights. An exception from it ends the run.
        log: receives the figures of each step, and each validation.
        state: the checkpoint file of the run, written regularly and resumed from.
        on_progress: called about once a second, and after the last step, by the main process.
        should_stop: called before each step, in each process; True in any of them stops all.

    Raises:
        RunError: no example is left to train on, an image has no features, the loss is not finite, or memory does not
            suffice for a single example.
        RunCancelled: `should_stop` returned True.
    """
    device = next(checkpoint.model.text_decoder.parameters()).device
    accelerator = Accelerator(cpu=not is_gpu(device))
    is_main = accelerator.is_main_process
    with_words = extended_checkpoint(
        checkpoint,
        [(example.image, example.caption) for example in examples],
        prompt=settings.prompt,
        tell=None if tell is None else partial(_told_to_all, accelerator, tell),
    )
    start = with_style_tokens(with_words, (style_tokens or {}).values())
    new_pieces = _new_pieces(checkpoint, with_words)
    usable, rejected = _usable(start, examples, settings, style_tokens)
    new_share = share_in_new_language(with_words, _captions(usable), before=checkpoint)
    words_first = new_share >= _MANY
    settings = _settled(settings, start, usable, is_new_language=words_first)
    steps, peak_rate = settings.steps or 0, settings.learning_rate or 0.0
    logger.info("Training on %d captions, way %s, %d steps, rate %.2g", len(usable), settings.way, steps, peak_rate)

    begun = last_report = last_save = time.monotonic()

    with own_random_numbers(device):
        torch.manual_seed(settings.seed)
        trainable = Trainable(start, settings)
        optimizer = torch.optim.AdamW(trainable.groups(peak_rate), lr=peak_rate, betas=(0.9, 0.98), fused=True)
        run = _Kept(trainable, settings)
        if state and (resumed := state.load(parameters=trainable.parameters, optimizer=optimizer)):
            run.resume(resumed)
            logger.info("Going on after step %d", len(run.losses))
        data = TrainingData(usable, start, settings, features=features, pictures=pictures, style_tokens=style_tokens)
        micro_batch = min(settings.micro_batch_size or _examples_at_once(checkpoint, settings), settings.batch_size)
        first = len(run.losses)
        if log and is_main:
            log.begin(first, settings.to_dict())

        for step, batch in islice(enumerate(data.batches()), first, steps):
            is_cancelled, has_ended = _anywhere(
                accelerator, should_stop(), run.validations_without_better >= settings.patience
            )
            if is_cancelled:
                if state and is_main and state.is_kept_when_stopped:
                    run.save(state, optimizer)
                raise RunCancelled(f"The run was cancelled at step {step} of {steps}; nothing was changed.")
            if has_ended:
                logger.info("No better captions for %d validations: training ends at step %d", settings.patience, step)
                break
            if not is_main:
                # Its own dropout seed, derived from the step, needs no state; the main process has the saved generator.
                torch.manual_seed(_seed(settings.seed, step, accelerator.process_index))
            share = schedule(settings.schedule, step, steps, settings.warmup_share)
            share_of_words = share
            if words_first:
                share_of_words, share = words_first_schedule(settings.schedule, step, steps, settings.warmup_share)
            for group in optimizer.param_groups:
                group["lr"] = group["peak_rate"] * (share_of_words if group["of_words"] else share)
            loss, micro_batch = _backward_within_memory(
                accelerator, trainable, data, step, batch, settings, micro_batch
            )
            norm = _clip(trainable.parameters.values(), settings.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            run.stepped(loss)
            if not math.isfinite(loss):
                raise RunError(
                    f"The loss is {loss} at step {step + 1}; a lower learning rate than {peak_rate:.2g} may help."
                )

            if not is_main:
                continue
            now = time.monotonic()
            per_step = (now - begun) / (step + 1 - first)
            if log:
                images_per_second = settings.batch_size / per_step
                log.step(
                    StepFigures(step + 1, loss, peak_rate * share_of_words, norm, images_per_second, memory_mib(device))
                )
            if (validate or watch) and (step + 1) % max(steps // _VALIDATIONS, 1) == 0:
                present = trainable.checkpoint(run.averages)
                if watch:
                    watch((step + 1) / steps, present)
                if validate:
                    run.validated(found := validate(present))
                    if log:
                        log.evaluation(step + 1, found, images="validation")
            if state and now - last_save > _STATE_EVERY_S:
                last_save = now
                run.save(state, optimizer)
            if now - last_report > _REPORT_EVERY_S or step + 1 == steps:
                last_report = now
                recent = run.losses[-10:]
                progress = TrainingProgress(
                    step=step + 1,
                    steps=steps,
                    loss=sum(recent) / len(recent),
                    learning_rate=peak_rate * share_of_words,
                    gradient_norm=norm,
                    examples_per_second=settings.batch_size / per_step,
                    seconds_left=per_step * (steps - step - 1),
                )
                on_progress(progress)
                logger.info("%s", progress)

    return FinetuneResult(
        checkpoint=trainable.checkpoint(run.best or run.averages),
        trainable=trainable,
        settings=settings,
        examples=len(usable),
        rejected=tuple(rejected),
        new_pieces=new_pieces,
        losses=tuple(run.losses),
        best_step=run.best_step or len(run.losses),
        seconds=time.monotonic() - begun,
        is_main=is_main,
    )


def _new_pieces(before: Checkpoint, after: Checkpoint) -> int:
    """How many tokens the vocabulary got, with a line in the log."""
    count = after.model.config.text_config.vocab_size - before.model.config.text_config.vocab_size
    if count:
        size = len(after.tokenizer)
        scripts = scripts_of("".join(after.tokenizer.convert_ids_to_tokens(range(size - count, size))))
        logger.info("The vocabulary has %d new words and parts of words; letters: %s", count, ", ".join(scripts))
    return int(count)


def _usable(
    start: Checkpoint,
    examples: Sequence[Example],
    settings: FinetuneSettings,
    style_tokens: Mapping[str, str] | None,
) -> tuple[list[Example], list[Rejected]]:
    """The examples to train on, and those left out, which the log names.

    Raises:
        RunError: none can be trained on.
    """
    usable, rejected = usable_examples(start, examples, prompt=settings.prompt, style_tokens=style_tokens)
    if not usable:
        raise RunError(nothing_left(rejected))
    for left_out in rejected:
        logger.warning("Not trained on %s: %s", left_out.example, left_out.reason)
    return usable, rejected


def schedule(name: Schedule, step: int, steps: int, warmup_share: float) -> float:
    """Factor on the peak learning rate at a step: linear warm-up, then the named schedule.

    "cosine" and "linear" reach 0 one step after the last; "inverse_sqrt" is that of Vaswani et al. (arXiv 1706.03762,
    section 5.3).
    """
    warmup = round(steps * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "linear":
        return 1 - done
    if name == "inverse_sqrt":
        return math.sqrt((warmup + 1) / (step + 1))
    return 1.0


def words_first_schedule(name: Schedule, step: int, steps: int, warmup_share: float) -> tuple[float, float]:
    """Factors on the peak learning rate in a new language: of embedding and head, and of all other weights.

    First the words alone are learnt, then all weights. Trained at once with words that are still wrong, the other
    weights lose what they could tell of a picture (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution", arXiv 2202.10054). Each part is a whole schedule.
    """
    first = round(steps * _WORDS_FIRST)
    if step < first:
        return _RATE_OF_WORDS * schedule(name, step, first, warmup_share), 0.0
    share = schedule(name, step - first, steps - first, warmup_share)
    return share, share


class _Kept:
    """State of a run beside the weights: losses, moving average, and the best weights so far."""

    def __init__(self, trainable: Trainable, settings: FinetuneSettings) -> None:
        self._parameters, self._decay = trainable.parameters, settings.ema
        self.losses: list[float] = []
        self.averages = self._copied() if settings.ema else {}
        self.best: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.best_score = -math.inf
        self.validations_without_better = 0

    @torch.no_grad()
    def stepped(self, loss: float) -> None:
        self.losses.append(loss)
        for name, average in self.averages.items():
            average.lerp_(self._parameters[name].detach(), 1 - self._decay)

    def validated(self, found: ValidationResult) -> None:
        """Keep the weights if their score is the best so far; their step is the last one done."""
        logger.info("Validation after step %d: %s", len(self.losses), found)
        score = found.score.value
        self.validations_without_better += 1
        if score > self.best_score:
            self.best_score, self.best_step, self.validations_without_better = score, len(self.losses), 0
            self.best = {name: tensor.clone() for name, tensor in (self.averages or self._copied()).items()}

    def save(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
        kept = {f"average/{name}": tensor for name, tensor in self.averages.items()}
        kept |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        notes = {"losses": self.losses, "best": [self.best_step, self.best_score, self.validations_without_better]}
        state.save(parameters=self._parameters, optimizer=optimizer, kept=kept, notes=notes)

    def resume(self, resumed: Resumed) -> None:
        self.losses = list(resumed.notes["losses"])
        self.best_step, self.best_score, self.validations_without_better = resumed.notes["best"]
        for name, parameter in self._parameters.items():
            if self.averages:
                self.averages[name] = resumed.kept[f"average/{name}"].to(parameter.device)
            if self.best_step is not None:
                self.best[name] = resumed.kept[f"best/{name}"].to(parameter.device)

    def _copied(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}


def _backward_within_memory(
    accelerator: Accelerator,
    trainable: Trainable,
    data: TrainingData,
    step: int,
    batch: Sequence[int],
    settings: FinetuneSettings,
    micro_batch: int,
) -> tuple[float, int]:
    """The loss of a batch, with gradients in the parameters, and the micro-batch size that fits into memory."""
    while True:
        cause = None
        try:
            loss = _backward(accelerator, trainable, data, step, batch, settings, micro_batch)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            # Without the traceback, whose frames hold the memory that is missing.
            cause = error.with_traceback(None)
        (is_too_much,) = _anywhere(accelerator, cause is not None)
        if not is_too_much:
            return _summed(accelerator, trainable, loss), micro_batch
        if micro_batch == 1:
            raise RunError(
                "There is not the memory to train on a single example. Set gradient_checkpointing, or a way that "
                "needs less: full needs most, then lora, then decoder."
            ) from cause
        for parameter in trainable.parameters.values():
            parameter.grad = None
        give_back_memory(trainable.device)
        micro_batch = (micro_batch + 1) // 2
        logger.warning("Out of memory at step %d: going on with %d examples at a time", step + 1, micro_batch)


def _backward(
    accelerator: Accelerator,
    trainable: Trainable,
    data: TrainingData,
    step: int,
    batch: Sequence[int],
    settings: FinetuneSettings,
    micro_batch: int,
) -> float:
    """This process's part of the batch's loss, with gradients in the parameters.

    `accelerator.accumulate` would average over micro-batches; this is the mean over the tokens of the whole batch.
    """
    device = trainable.device
    is_mixed = computes_in_bf16(device) and (settings.trains_encoder or trainable.is_wide)
    total = asked_for(data.text(batch).labels)
    mine = batch[accelerator.process_index :: accelerator.num_processes]
    sum_of_losses = 0.0
    for start in range(0, len(mine), micro_batch):
        part = mine[start : start + micro_batch]
        text = data.text(part).to(device)
        features, pixels = data.images(step, part)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_mixed):
            logits = trainable.logits(
                text,
                features=None if features is None else features.to(device),
                pixels=pixels,
                dtype=torch.bfloat16 if is_mixed else torch.float32,
            )
        loss = caption_loss(
            logits,
            text.labels,
            label_smoothing=settings.label_smoothing,
            total=total,
        )
        accelerator.backward(loss)
        sum_of_losses += float(loss.detach())
    return sum_of_losses


def _summed(accelerator: Accelerator, trainable: Trainable, loss: float) -> float:
    """The loss summed over all processes; gradients are summed in the parameters."""
    if accelerator.num_processes == 1:
        return loss
    for parameter in trainable.parameters.values():
        mine = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad  # None if it had no examples
        parameter.grad = accelerator.reduce(mine, "sum")
    return float(accelerator.reduce(torch.tensor(loss, device=trainable.device), "sum"))


def _clip(parameters: Collection[nn.Parameter], longest: float) -> float:
    """Clip the gradients to a norm; returns their norm before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not norm <= longest:  # also for NaN
        torch.nn.utils.clip_grads_with_norm_(parameters, longest, norm)
    return float(norm)


def _seed(*numbers: int) -> int:
    return random.Random(" ".join(map(str, numbers))).getrandbits(63)  # noqa: S311 (no secret)


def _anywhere(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """For each flag whether it is set in any process; the same result in all of them."""
    if accelerator.num_processes == 1:
        return list(flags)
    up = accelerator.reduce(torch.tensor(flags, dtype=torch.float32, device=accelerator.device), "sum")
    return [count > 0 for count in up.tolist()]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def _examples_at_once(checkpoint: Checkpoint, settings: FinetuneSettings) -> int:
    """The default micro-batch size, before it is halved for lack of memory."""
    vision = checkpoint.model.vision_model
    if not settings.trains_encoder or is_gpu(vision.device):
        return settings.batch_size
    return max(_PATCHES_AT_ONCE // vision.embeddings.num_positions, 1)


def _captions(examples: Sequence[Example]) -> list[str]:
    return [example.caption for example in examples]


def _told_to_all(accelerator: Accelerator, tell: Telling, images: Sequence[str]) -> Mapping[str, str]:
    """What the main process is told, in all of them: they have to begin with the same weights."""
    (told,) = broadcast_object_list([dict(tell(images)) if accelerator.is_main_process else {}])
    return dict(told)


def _settled(
    settings: FinetuneSettings, checkpoint: Checkpoint, examples: Sequence[Example], *, is_new_language: bool
) -> FinetuneSettings:
    of_styles = list(Counter(example.style for example in examples).values())
    width = checkpoint.model.config.text_config.hidden_size
    return replace(
        settings,
        learning_rate=settings.learning_rate or default_learning_rate(width, settings.way),
        steps=settings.steps or default_steps_of_styles(of_styles, is_new_language=is_new_language),
    )
