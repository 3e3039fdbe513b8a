"""The training examples: new captions, and older ones that are replayed."""

from collections.abc import Collection

from captionloop.errors import RunError
from captionloop.model.captions.example import Example
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.replay import with_replay
from captionloop.model.training.settings import FinetuneSettings


def training_set(
    snapshot: Snapshot, images: Collection[str], settings: FinetuneSettings, *, champion: str, learnt: Snapshot | None
) -> list[Example]:
    """The training examples: the snapshot's captions of these images that are new to the champion or replayed.

    Args:
        champion: the name of the model that is fine-tuned.
        learnt: the snapshot that it was trained on, if any.

    Raises:
        RunError: none is left.
    """
    replay = settings.replay
    chosen = [example for example in snapshot.examples if example.image in images]
    if learnt is not None and replay < 1:
        chosen = with_replay(chosen, learnt, share=replay, seed=settings.seed)
        if not chosen:
            raise RunError(
                f"No correction is new since {champion} learnt, and replay={replay:g} leaves out the older ones. "
                "Correct more captions, or set replay to 1."
            )
    return chosen
