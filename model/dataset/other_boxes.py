"""What people write in other text boxes beside that for captions: each box has captions and a style of its own.

They lie beside the correction of the same annotation, and teach when that one does: a caption that is skipped, left out
or taken back takes them with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from captionloop.model.captions.example import Example
from captionloop.model.database import BoxCaption, Correction, Image, Style
from captionloop.model.dataset.styles import style_of_box


@dataclass(frozen=True)
class BoxText:
    """What an annotation has in another box.

    Args:
        box: its name in the label config.
        captions: what the person wrote; empty if nothing is there.
        suggestion: what was suggested there; None: nothing.
    """

    box: str
    captions: Sequence[str]
    suggestion: str | None


def keep_box_texts(session: Session, project_id: int, annotation_id: int, texts: Sequence[BoxText]) -> int:
    """Store what an annotation, whose correction is stored, has in other boxes; returns how many captions changed."""
    correction = session.scalar(
        select(Correction.id).where(Correction.project_id == project_id, Correction.annotation_id == annotation_id)
    )
    return 0 if correction is None else sum(_keep(session, project_id, correction, text) for text in texts)


def _keep(session: Session, project_id: int, correction: int, text: BoxText) -> bool:
    known = session.get(BoxCaption, (correction, text.box))
    if known is None and not text.captions:
        return False
    if known is None:
        known = BoxCaption(
            correction_id=correction, box=text.box, style_id=style_of_box(session, project_id, text.box), captions=[]
        )
        session.add(known)
    is_new = list(known.captions) != list(text.captions)
    known.captions, known.suggestion = list(text.captions), text.suggestion or known.suggestion
    session.flush()
    return is_new


def examples_of_boxes(session: Session, conditions: Sequence[ColumnElement[bool]]) -> list[Example]:
    """All captions of other boxes whose correction fulfils these SQL conditions, in order."""
    rows = session.execute(
        select(Correction.id, Image.sha256, Image.split_with, Style.name, BoxCaption.captions)
        .join(Correction, Correction.id == BoxCaption.correction_id)
        .join(Image, Image.sha256 == Correction.image_sha256)
        .join(Style, Style.id == BoxCaption.style_id)
        .where(*conditions)
        .order_by(Correction.id, BoxCaption.box)
    )
    return [
        Example(correction, image, caption, split_with if split_with != image else None, style)
        for correction, image, split_with, style, captions in rows
        for caption in captions
    ]
