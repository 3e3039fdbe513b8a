"""The overview of a project: figures per version, the present run, the forecast."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from captionloop.backend.label_studio.controls import ControlQuestion, question_of
from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.styles import StyleNews, Styles, read_style_news, read_styles
from captionloop.backend.page_data.tables import DataTable
from captionloop.model.database import Correction, Project, Run, RunKind
from captionloop.model.dataset.corrections import teaching
from captionloop.model.evaluation.certainty import CLOSE, verdict
from captionloop.model.evaluation.gate import FEW_IMAGES
from captionloop.model.metrics.scores import counting_notes
from captionloop.model.progress.loop_figures import LoopFigures, VersionFigures, loop_figures
from captionloop.model.progress.outlook import Outlook, stands
from captionloop.model.progress.outlook import outlook as outlook_of
from captionloop.model.versions.store import VersionInfo

_LOOKED_AT = 100  # captions, for their script
FEW_CORRECTIONS = 20  # with fewer a run is possible, but not proposed


@dataclass(frozen=True)
class Outcome:
    """What the newest training brought, until the next one.

    Args:
        version: what it made.
        parent: the champion of the time.
        is_better: whether the gate found it better, so that it serves now.
        verdict: that in words, as the gate's reason has it.
        images: held-out images that both captioned.
        right, right_before: how many of them got exactly a person's caption.
        to_change, to_change_before: words to change, per word of a person's caption.
        style: that both wrote in; "" is the one without a name, None where there is only that one.
    """

    version: str
    parent: str
    is_better: bool
    verdict: str
    images: int
    right: int
    right_before: int
    to_change: float
    to_change_before: float
    style: str | None = None


@dataclass(frozen=True)
class Overview:
    """The data of the overview.

    Args:
        champion: the version that serves.
        figures: of the loop, per version.
        run: the one in progress, or the last one; None before any.
        training: the last fine-tuning run that is over, if that is another one; None otherwise.
        outcome: of the newest training; None if the champion was changed since.
        previous: figures of the version to compare the champion's with; None without one.
        outlook: the forecast for further corrections.
        question: an open question about the text box for captions; None: none.
        notes: what has to be known of how words are counted.
        styles: None where there is one only, which has no name.
        news: what people write otherwise than before; None: nothing.
    """

    champion: VersionInfo
    figures: LoopFigures
    run: Run | None
    training: Run | None
    outcome: Outcome | None
    previous: VersionFigures | None
    outlook: Outlook
    question: ControlQuestion | None
    notes: Sequence[str]
    styles: Styles | None
    news: StyleNews | None

    @property
    def current(self) -> VersionFigures | None:
        return self.figures.of(self.champion.version)

    @property
    def is_busy(self) -> bool:
        return self.run is not None and not self.run.state.is_over

    @property
    def proposes_training(self) -> bool:
        """Whether there are enough new corrections."""
        return not self.is_busy and self.figures.new_corrections >= FEW_CORRECTIONS


def read_overview(room: Room, project: Project) -> Overview:
    """Gather the overview of a project."""
    champion = room.champion(project)
    versions = room.versions.all_of(project.id, with_deleted=True)
    with room.database.reading() as session:
        figures = loop_figures(session, project.id, versions)
        styles = read_styles(session, project.id, champion)
        in_style = loop_figures(session, project.id, versions, in_current_style=True) if styles else figures
        notes = counting_notes(_newest_captions(session, project.id))
        news = read_style_news(session, project)
    earlier = [found for found in figures.versions if found.version != champion.version and found.kept]
    run = room.runs.current(project.id)
    return Overview(
        champion=champion,
        figures=figures,
        run=run,
        training=_training_beside(room, project, run),
        outcome=outcome_of(versions, champion),
        previous=earlier[-1] if earlier else None,
        outlook=outlook_of(stands(versions, in_style.versions), corrections=figures.corrections),
        question=question_of(project),
        notes=notes,
        styles=styles,
        news=news,
    )


def outcome_of(versions: Sequence[VersionInfo], champion: VersionInfo) -> Outcome | None:
    """What the newest training brought, while its version serves, or the one that it should have replaced.

    Args:
        versions: all of the project's, oldest first, deleted ones included.
    """
    newest = next((info for info in reversed(versions) if "gate" in info.metrics), None)
    if newest is None or newest.parent is None:
        return None
    gate = newest.metrics["gate"]
    if champion.version != (newest.version if gate["promote"] else newest.parent):
        return None
    before, after = gate["champion"], gate["candidate"]
    return Outcome(
        version=newest.version,
        parent=newest.parent,
        is_better=gate["promote"],
        verdict=_in_words(gate.get("probability", 1.0), is_better=gate["promote"], images=after["images"]),
        images=after["images"],
        right=round(after["exact_match"] * after["images"]),
        right_before=round(before["exact_match"] * before["images"]),
        to_change=after["word_edit_rate"],
        to_change_before=before["word_edit_rate"],
        style=newest.generation.named_style,
    )


def _in_words(probability: float, *, is_better: bool, images: int) -> str:
    said = verdict(probability)
    if said == CLOSE:
        return "on balance a little better" if is_better else "on balance not better"
    is_sure = "probably" not in said and images >= FEW_IMAGES
    return ("" if is_sure else "probably ") + ("better" if is_better else "not better")


def _training_beside(room: Room, project: Project, run: Run | None) -> Run | None:
    """The last training, where another run stands in its place: the renewal of suggestions that follows it."""
    if run is None or run.kind is RunKind.FINETUNE:
        return None
    last = room.runs.latest(project.id, RunKind.FINETUNE, count=1)
    return next((found for found in last if found.state.is_over), None)


def _newest_captions(session: Session, project_id: int) -> list[str]:
    newest = select(Correction.captions).where(*teaching(project_id)).order_by(Correction.annotated_at.desc())
    return [caption for captions in session.scalars(newest.limit(_LOOKED_AT)) for caption in captions]


def figures_table(versions: Sequence[VersionFigures]) -> DataTable:
    """The charts' figures for download."""
    columns = ("version", "made", "suggested", "corrected", "kept", "kept_low", "kept_high", "words_changed")
    rows = [
        (
            found.version,
            found.created_at,
            found.suggested,
            found.corrected,
            found.kept.value if found.kept else None,
            found.kept.low if found.kept else None,
            found.kept.high if found.kept else None,
            found.words_changed.value if found.words_changed else None,
        )
        for found in versions
    ]
    return DataTable(columns, rows)
