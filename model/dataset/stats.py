"""Statistics of a project's corrections."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.model.captions.text import normalise_caption
from captionloop.model.database import Correction, CorrectionState
from captionloop.model.dataset import corrections
from captionloop.model.dataset.near_duplicates import near_duplicates
from captionloop.model.dataset.split import split_images
from captionloop.model.metrics.word_changes import words_of


@dataclass(frozen=True)
class DatasetStats:
    """Statistics of a project's corrections; all but the first two are of those used in training or by the gate.

    Args:
        by_state: how many corrections are in each state that occurs.
        left_out: how many active ones a reviewer has left out of training.
        captions, images, annotators: how many there are of each.
        held_out: images of the gate; the others are trained on.
        near_duplicates: images that look like an earlier one.
        imported: corrections that came from a dataset, not from Label Studio.
        words: mean number of words of a caption.
        vocabulary: different words, case aside.
        unchanged: share of the corrections with a suggestion that leave it unchanged; None without any.
        words_changed: mean number of words changed in those, by `word_edits`.
        cannot_be_written: numbers of the corrections with a caption that the champion cannot learn to generate.
    """

    by_state: dict[str, int]
    left_out: int
    captions: int
    images: int
    annotators: int
    held_out: int
    near_duplicates: int
    imported: int
    words: float
    vocabulary: int
    unchanged: float | None
    words_changed: float | None
    cannot_be_written: list[int]


def dataset_stats(session: Session, project_id: int, *, can_be_written: Callable[[str], bool]) -> DatasetStats:
    """The statistics of a project.

    Args:
        can_be_written: whether the champion can learn to generate a caption (`learnable.is_learnable`).
    """
    found = session.scalars(select(Correction).where(*corrections.teaching(project_id)).order_by(Correction.id)).all()
    texts = [normalise_caption(text) for correction in found for text in correction.captions]
    images = {correction.image_sha256 for correction in found if correction.image_sha256}
    split_with = {
        example.image: example.split_with
        for example in corrections.training_examples(session, project_id)
        if example.split_with
    }
    edits = [correction.words_changed for correction in found if correction.words_changed is not None]
    words = Counter(word for text in texts for word in words_of(text))
    by_state = corrections.counts(session, project_id)
    return DatasetStats(
        by_state={state.value: count for state, count in by_state.items() if count},
        left_out=by_state[CorrectionState.ACTIVE] - len(found),
        captions=len(texts),
        images=len(images),
        annotators=len({correction.annotator for correction in found if correction.annotator}),
        held_out=len(split_images(images, split_with=split_with).held_out),
        near_duplicates=sum(len(group) - 1 for group in near_duplicates(session, project_id)),
        imported=sum(correction.import_key is not None for correction in found),
        words=words.total() / len(texts) if texts else 0.0,
        vocabulary=len(words),
        unchanged=edits.count(0) / len(edits) if edits else None,
        words_changed=statistics.mean(edits) if edits else None,
        cannot_be_written=[
            correction.id for correction in found if not all(can_be_written(text) for text in correction.captions)
        ],
    )
