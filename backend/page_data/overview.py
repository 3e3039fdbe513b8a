"""The overview of a project: figures per version, the present run, the forecast."""

from collections.abc import Sequence
from dataclasses import dataclass

from captionloop.backend.label_studio.controls import ControlQuestion, question_of
from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.model.database import Project, Run
from captionloop.model.progress.loop_figures import LoopFigures, VersionFigures, loop_figures
from captionloop.model.progress.outlook import Outlook, stands
from captionloop.model.progress.outlook import outlook as outlook_of
from captionloop.model.versions.store import VersionInfo

FEW_CORRECTIONS = 20  # with fewer a run is possible, but not proposed


@dataclass(frozen=True)
class Overview:
    """The data of the overview.

    Args:
        champion: the version that serves.
        figures: of the loop, per version.
        run: the one in progress, or the last one; None before any.
        previous: figures of the version to compare the champion's with; None without one.
        outlook: the forecast for further corrections.
        question: an open question about the text box for captions; None: none.
    """

    champion: VersionInfo
    figures: LoopFigures
    run: Run | None
    previous: VersionFigures | None
    outlook: Outlook
    question: ControlQuestion | None

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
    earlier = [found for found in figures.versions if found.version != champion.version and found.kept]
    return Overview(
        champion=champion,
        figures=figures,
        run=room.runs.current(project.id),
        previous=earlier[-1] if earlier else None,
        outlook=outlook_of(stands(versions, figures.versions), corrections=figures.corrections),
        question=question_of(project),
    )


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
