"""A reviewer's change of a caption, written to Label Studio and then kept here with who made it.

Label Studio's annotation remains its annotator's; a sync that comes between both writes finds the same text. Where the
process ends between them, a sync brings the text, and who changed it is not known.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from captionloop.backend.label_studio.annotations import clean_text, read_moment, with_other_texts
from captionloop.errors import BusyError, SettingsError
from captionloop.jobs.context import Context
from captionloop.model.database import Correction, Project, ReviewAction
from captionloop.model.dataset import review

LONGEST_CAPTION = 10_000  # characters
_CHANGED_SINCE = "This caption has been changed in Label Studio since; sync, and look at it again."


def edit_captions(
    context: Context, project: Project, correction_id: int, captions: Sequence[str], *, by: str
) -> Correction:
    """Write other captions into an annotation of Label Studio.

    Args:
        captions: as many as there are, in their order.

    Returns:
        The correction as it is now.

    Raises:
        NotFoundError: the project has no such correction.
        SettingsError: a caption is empty or too long, or the correction was imported and is in no annotation.
        BusyError: the annotation was changed meanwhile.
        LabelStudioError: Label Studio does not answer or refuses; nothing is changed.
    """
    with context.database.reading() as session:
        before = review.get(session, project.id, correction_id)
    cleaned = _checked(before, [clean_text(caption) for caption in captions])
    if cleaned == list(before.captions):
        return before
    updated_at = _write(context, project, before, dict(zip(before.captions, cleaned, strict=True)))
    with context.database.session() as session:
        return review.edit(session, project.id, correction_id, cleaned, updated_at=updated_at, by=by)


def undo(context: Context, project: Project, *, by: str) -> ReviewAction | None:
    """Undo a reviewer's last decision, in Label Studio as well where it changed a caption; None when there is none.

    Raises:
        BusyError: the caption was changed since; it stays, and the next undo takes back what was before.
        LabelStudioError: Label Studio does not answer or refuses; nothing is changed.
    """
    with context.database.reading() as session:
        last = review.last_action(session, project.id, by=by)
        correction = review.get(session, project.id, last.correction_id) if last else None
    updated_at = None
    if last is not None and correction is not None and review.CAPTIONS in last.before:
        now, then = last.after[review.CAPTIONS], last.before[review.CAPTIONS]
        try:
            updated_at = _write(context, project, correction, dict(zip(now, then, strict=True)))
        except BusyError:
            with context.database.session() as session:
                review.forget(session, last.id)
            raise
    with context.database.session() as session:
        return review.undo(session, project.id, by=by, updated_at=updated_at)


def _checked(correction: Correction, captions: Sequence[str]) -> list[str]:
    if correction.annotation_id is None:
        raise SettingsError("This caption was imported and is in no annotation; import another one instead.")
    if len(captions) != len(correction.captions):
        raise SettingsError(f"Expected {len(correction.captions)} captions, found {len(captions)}.")
    for caption in captions:
        if not caption:
            raise SettingsError("A caption cannot be empty; leave it out of training, or delete it in Label Studio.")
        if len(caption) > LONGEST_CAPTION:
            raise SettingsError(f"The caption has {len(caption)} characters; there is room for {LONGEST_CAPTION}.")
    return list(captions)


def _write(context: Context, project: Project, correction: Correction, texts: Mapping[str, str]) -> datetime:
    assert correction.annotation_id is not None
    found = context.label_studio.annotation(correction.annotation_id)
    control = correction.control or project.control or ""
    result = with_other_texts(found.get("result"), control=control, texts=texts)
    if result is None or found.get("task") != correction.task_id:
        raise BusyError(_CHANGED_SINCE)
    saved = context.label_studio.update_annotation(correction.annotation_id, result=result)
    return read_moment(saved["updated_at"])
