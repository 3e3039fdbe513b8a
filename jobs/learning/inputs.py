"""Common inputs of runs and sweep trials: training data, settings, validation."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from captionloop.batches import batches
from captionloop.errors import RunError, SettingsError
from captionloop.jobs.context import Context
from captionloop.jobs.learning.run_features import BATCH, picture
from captionloop.jobs.project.sync import sync
from captionloop.model.database import Project
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.replay import with_replay
from captionloop.model.training import named_settings
from captionloop.model.training.caption_targets import Example
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.training.validation import ValidationResult
from captionloop.model.versions.store import VersionInfo

if TYPE_CHECKING:
    from torch import Tensor

    from captionloop.model.blip.checkpoint import Checkpoint
    from captionloop.model.blip.generation_settings import GenerationSettings


def take_snapshot(context: Context, project: Project, on_progress: Callable[[int, int], None]) -> Snapshot:
    """Sync with Label Studio and take a snapshot.

    Args:
        on_progress: called with annotations read and annotations to read.

    Raises:
        LabelStudioError: Label Studio does not answer.
        RunError: there are no corrections to train on.
    """
    sync(context, project.id, on_progress=on_progress)
    with context.database.session() as session:
        snapshot = corrections.snapshot(session, project.id, context.home)
    if len({example.image for example in snapshot.examples}) < 2:
        raise RunError(
            f"There are {len(snapshot.examples)} corrections to learn from, and at least two images are needed: "
            "one to learn from, one to see whether it helped. Submit some annotations in Label Studio first."
        )
    return snapshot


def chosen_settings(context: Context, project: Project, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a request, over the saved settings that it or the extra params name, over the extra params.

    The extra params are those of the model in Label Studio. Not validated yet; unset settings are absent.

    Raises:
        NotFoundError: there are no settings of that name.
        SettingsError: the extra params are not an object.
        LabelStudioError: Label Studio does not answer.
    """
    extra = _extra_params(context, project)
    name = asked.get(named_settings.KEY, extra.get(named_settings.KEY))
    named: dict[str, Any] = {}
    if name is not None:
        with context.database.reading() as session:
            named = named_settings.read(session, project.id, name)
    merged = {**extra, **named, **asked}
    merged.pop(named_settings.KEY, None)
    return merged


def _extra_params(context: Context, project: Project) -> dict[str, Any]:
    connected = context.label_studio.ml_backends(project.label_studio_id)
    ours = next((found for found in connected if found["id"] == project.ml_backend_id), None)
    extra = (ours or {}).get("extra_params") or {}
    if not isinstance(extra, dict):
        raise SettingsError(
            f"The extra params of the model in Label Studio are {extra!r}; expected an object, such as "
            '{"way": "lora"}.'
        )
    return extra


def training_set(
    context: Context, champion: VersionInfo, snapshot: Snapshot, settings: FinetuneSettings, images: Collection[str]
) -> list[Example]:
    """The training examples: the snapshot's captions of these images that are new to the champion or replayed.

    Raises:
        RunError: none is left.
    """
    replay = settings.replay
    chosen = [example for example in snapshot.examples if example.image in images]
    if champion.snapshot and replay < 1:
        learnt = corrections.read_snapshot(context.home.datasets / f"{champion.snapshot}.jsonl")
        chosen = with_replay(chosen, learnt, share=replay, seed=settings.seed)
        if not chosen:
            raise RunError(
                f"No correction is new since {champion.version} learnt, and replay={replay:g} leaves out the older "
                "ones. Correct more captions, or set replay to 1."
            )
    return [
        Example(id=f"correction {example.correction}", image_hash=example.image, caption=example.caption)
        for example in chosen
    ]


class Validation:
    """A validation set, apart from training and gate, scored by CIDEr-D + BLEU-4 as in BLIP.

    Args:
        references: image → human captions, of these images and others; all count for document frequencies.
        images: those to caption.
        generation: generation settings.
        features: a frozen encoder's output for the images; None: each checkpoint encodes the pictures itself.
    """

    def __init__(
        self,
        context: Context,
        *,
        references: Mapping[str, Sequence[str]],
        images: Sequence[str],
        generation: "GenerationSettings",
        features: "Callable[[Sequence[str]], Tensor] | None",
    ) -> None:
        self._context, self._generation, self._features = context, generation, features
        self._references = {image: references[image] for image in images}
        self._corpus = list(references.values())

    def validate(self, checkpoint: "Checkpoint") -> ValidationResult:
        """Caption the images with the checkpoint, and score the captions."""
        return ValidationResult.of(self._references, self._captions(checkpoint), corpus=self._corpus)

    def _captions(self, checkpoint: "Checkpoint") -> dict[str, str]:
        from captionloop.model.captioning.captioner import Captioner

        # In the precision of training, since a frozen encoder is shared with the model in training.
        captioner = Captioner(checkpoint, version="validation", generation=self._generation, precision="fp32")
        written: dict[str, str] = {}
        for batch in batches(list(self._references), BATCH):
            suggestions = (
                captioner.caption_features(self._features(batch))
                if self._features
                else captioner.caption([picture(self._context, image) for image in batch])
            )
            written |= {image: suggestion.caption for image, suggestion in zip(batch, suggestions, strict=True)}
        return written
