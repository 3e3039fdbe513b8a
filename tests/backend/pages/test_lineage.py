"""Positions of versions in the drawing of their lineage."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from captionloop.backend.pages.lineage import lineage, short_name
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.versions.store import VersionInfo


def version(name: str, parent: str | None, state: str, *, deleted: bool = False) -> VersionInfo:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return VersionInfo(
        name, parent, state, moment, corrections=0, metrics={}, path=Path(), reason="",
        generation=GenerationSettings(), snapshot=None, pinned=False, deleted_at=moment if deleted else None,
    )  # fmt: skip


VERSIONS = [
    version("base-1", None, "retired"),
    version("v1-a", "base-1", "rejected"),
    version("v2-b", "base-1", "champion"),
    version("v3-c", "v2-b", "candidate", deleted=True),
]


def test_versions_stand_from_left_to_right_in_columns_of_their_own() -> None:
    places = [node.x for node in lineage(VERSIONS).nodes]

    assert places == sorted(set(places))


def test_versions_that_served_stand_on_one_line_and_the_others_below() -> None:
    base, rejected, champion, candidate = lineage(VERSIONS).nodes

    assert base.y == champion.y < rejected.y == candidate.y


def test_a_nodes_shape_is_its_state() -> None:
    assert [node.shape for node in lineage(VERSIONS).nodes] == ["retired", "rejected", "champion", "deleted"]


def test_each_version_hangs_on_the_one_that_it_was_made_from() -> None:
    drawing = lineage(VERSIONS)
    at = {node.version: f"{node.x} {node.y}" for node in drawing.nodes}

    starts = [path.split("H")[0].removeprefix("M") for path in drawing.paths]

    assert starts == [at["base-1"], at["base-1"], at["v2-b"]]


def test_a_line_does_not_pass_through_a_version_that_stands_between() -> None:
    """After a rollback the next version is made from an earlier one."""
    versions = [version("v1", None, "retired"), version("v2", "v1", "retired"), version("v3", "v1", "champion")]

    straight, round_about = lineage(versions).paths

    assert "Q" not in straight
    assert "Q" in round_about


def test_forty_versions_make_it_wide_and_not_high() -> None:
    many = [version(f"v{number}", f"v{number - 1}" if number else None, "retired") for number in range(40)]

    drawing = lineage(many)

    assert drawing.width > 40 * 50
    assert drawing.height < 160


@pytest.mark.parametrize(("name", "shown"), [("v7-9c41f2", "v7"), ("blipcaptioning-1f", "blipcap…")])
def test_names_are_short(name: str, shown: str) -> None:
    assert short_name(name) == shown
