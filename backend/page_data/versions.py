"""The versions of a project, with metrics and possible actions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionloop.backend.page_data.room import Room
from captionloop.backend.page_data.tables import DataTable
from captionloop.model.database import Project
from captionloop.model.versions.store import VersionInfo


@dataclass(frozen=True)
class HeldOutFigures:
    """Metrics of a version on the held-out images of its run.

    Args:
        images: their number; versions are measured on different ones.
        score: CIDEr-D (0 to 10) + BLEU-4 (0 to 1).
        exact: share of captions written exactly as a person did.
        words_to_change: words a person would have to change, per word of the nearest human caption.
        difference: in the score from the champion at that time; None without a comparison.
        interval: 95 % interval of the difference.
        style: that it was measured in; "" is the one without a name, None where there is only that one.
    """

    images: int
    score: float
    exact: float
    words_to_change: float
    difference: float | None
    interval: tuple[float, float] | None
    style: str | None


@dataclass(frozen=True)
class VersionRow:
    """A version with its figures.

    Args:
        info: the version itself.
        figures: of its own run, else as the champion that a later run compared with; None if it was never measured.
        size_bytes: of its directory; None if it was deleted.
        is_base: projects start from it; it cannot be pinned or deleted.
        is_rollback_target: it is the target of a rollback.
        rival: the version to compare it with: the champion, or for the champion its parent; None if that is gone.
        damage: what is wrong with its files, and the remedy; None if nothing is known.
    """

    info: VersionInfo
    figures: HeldOutFigures | None
    size_bytes: int | None
    is_base: bool
    is_rollback_target: bool
    rival: str | None
    damage: str | None

    @property
    def why(self) -> str:
        """The reason without its figures in brackets."""
        return self.info.reason.partition(" (CIDEr-D")[0]

    @property
    def is_deleted(self) -> bool:
        return self.info.deleted_at is not None

    @property
    def is_champion(self) -> bool:
        return self.info.state == "champion"

    @property
    def may_be_promoted(self) -> bool:
        return not (self.is_deleted or self.is_champion or self.damage)

    @property
    def may_be_deleted(self) -> bool:
        return not (self.is_deleted or self.is_champion or self.is_base or self.info.pinned)


@dataclass(frozen=True)
class VersionsPage:
    """All versions of a project, the newest first, deleted ones included, with present and former champions.

    Args:
        rollback_target: of a rollback; None if there is none.
    """

    versions: Sequence[VersionRow]
    champion: str
    rollback_target: str | None

    @property
    def infos(self) -> Sequence[VersionInfo]:
        """The versions alone, the oldest first."""
        return [row.info for row in reversed(self.versions)]

    def of(self, version: str) -> VersionRow:
        return next(row for row in self.versions if row.info.version == version)


def read_versions(room: Room, project: Project) -> VersionsPage:
    """Gather the versions of a project."""
    champion = room.champion(project).version
    target = room.versions.rollback_target(project.id)
    infos = room.versions.all_of(project.id, with_deleted=True)
    there = {info.version for info in infos if info.deleted_at is None}
    damage = room.damage(infos)
    measured = _as_champions(infos)
    rows = [
        VersionRow(
            info=info,
            figures=held_out_figures(info.metrics, info.generation.named_style) or measured.get(info.version),
            size_bytes=None if info.deleted_at else _size_bytes(info.path),
            is_base=info.parent is None,
            is_rollback_target=info.version == target,
            rival=_rival(info, champion, there),
            damage=damage.get(info.version),
        )
        for info in infos
    ]
    return VersionsPage(rows[::-1], champion, target)


def _as_champions(infos: Sequence[VersionInfo]) -> Mapping[str, HeldOutFigures]:
    """Figures of versions as the newest run measured them that compared its version with them."""
    found = {
        info.parent: held_out_figures(info.metrics["gate"]["champion"], info.generation.named_style)
        for info in infos
        if info.parent is not None and "champion" in (info.metrics.get("gate") or {})
    }
    return {version: figures for version, figures in found.items() if figures is not None}


def _rival(info: VersionInfo, champion: str, there: Collection[str]) -> str | None:
    rival = info.parent if info.version == champion else champion
    return rival if info.version in there and rival in there else None


def held_out_figures(metrics: Mapping[str, Any], style: str | None = None) -> HeldOutFigures | None:
    """The metrics that a run stored with its version, which were measured in a style; None if there are none."""
    if not {"cider_d", "bleu_4", "exact_match", "word_edit_rate"} <= metrics.keys():
        return None
    gate = metrics.get("gate") or {}
    return HeldOutFigures(
        images=int(metrics.get("images", 0)),
        score=float(metrics["cider_d"]) + float(metrics["bleu_4"]),
        exact=float(metrics["exact_match"]),
        words_to_change=float(metrics["word_edit_rate"]),
        difference=gate.get("difference"),
        interval=tuple(gate["interval"]) if "interval" in gate else None,
        style=style,
    )


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def versions_table(shown: VersionsPage) -> DataTable:
    columns = (
        "version", "state", "parent", "made", "held_out_images", "cider_d_plus_bleu_4", "exactly_right",
        "words_to_change", "difference_from_champion", "difference_low", "difference_high", "snapshot", "corrections",
        "size_bytes", "pinned", "deleted", "reason",
    )  # fmt: skip
    return DataTable(columns, [_cells(row) for row in shown.versions])


def _cells(row: VersionRow) -> Sequence[Any]:
    info, figures = row.info, row.figures
    low, high = (figures.interval if figures else None) or (None, None)
    return (
        info.version, info.state, info.parent, info.created_at, figures and figures.images, figures and figures.score,
        figures and figures.exact, figures and figures.words_to_change, figures and figures.difference, low, high,
        info.snapshot, info.corrections, row.size_bytes, info.pinned, info.deleted_at, info.reason,
    )  # fmt: skip
