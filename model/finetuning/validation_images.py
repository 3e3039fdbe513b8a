"""The validation set, by which the best weights of a run are selected."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from captionloop.batches import batches
from captionloop.model.finetuning.pictures import BATCH, Pictures
from captionloop.model.training.validation import ValidationResult

if TYPE_CHECKING:
    from torch import Tensor

    from captionloop.model.blip.checkpoint import Checkpoint
    from captionloop.model.blip.generation_settings import GenerationSettings


class Validation:
    """A validation set, apart from training and gate, scored by CIDEr-D + BLEU-4 as in BLIP.

    Args:
        pictures: the images themselves.
        references: image → human captions, of these images and others; all count for document frequencies.
        images: those to caption.
        generation: a checkpoint's generation settings, as a new version with its weights would have them.
        features: a frozen encoder's output for the images; None: each checkpoint encodes the pictures itself.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        references: Mapping[str, Sequence[str]],
        images: Sequence[str],
        generation: "Callable[[Checkpoint], GenerationSettings]",
        features: "Callable[[Sequence[str]], Tensor] | None",
    ) -> None:
        self._pictures, self._generation, self._features = pictures, generation, features
        self._references = {image: references[image] for image in images}
        self._corpus = list(references.values())

    def validate(self, checkpoint: "Checkpoint") -> ValidationResult:
        """Caption the images with the checkpoint, and score the captions."""
        return ValidationResult.of(self._references, self._captions(checkpoint), corpus=self._corpus)

    def _captions(self, checkpoint: "Checkpoint") -> dict[str, str]:
        from captionloop.model.captioning.captioner import Captioner

        # In the precision of training, since a frozen encoder is shared with the model in training.
        captioner = Captioner(
            checkpoint, version="validation", generation=self._generation(checkpoint), precision="fp32"
        )
        written: dict[str, str] = {}
        for batch in batches(list(self._references), BATCH):
            suggestions = (
                captioner.caption_features(self._features(batch))
                if self._features
                else captioner.caption([self._pictures.open(image) for image in batch])
            )
            written |= {image: suggestion.caption for image, suggestion in zip(batch, suggestions, strict=True)}
        return written
