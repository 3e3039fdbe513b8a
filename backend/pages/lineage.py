"""The layout of the lineage graph of versions."""

from collections.abc import Sequence
from dataclasses import dataclass

from captionloop.model.versions.store import VersionInfo

# In units of the drawing, which are CSS pixels. Versions that ever served stand on the upper line, the others below.
_STEP, _MARGIN = 64, 40
_SERVED_Y, _OTHER_Y = 44, 104
_BETWEEN_Y, _ABOVE_Y, _BEND = 78, 14, 14
_BELOW = 44  # a node's name and some room


@dataclass(frozen=True)
class Node:
    """A node; `shape` is champion, candidate, rejected, retired or deleted."""

    version: str
    label: str  # its short name
    shape: str
    x: int
    y: int


@dataclass(frozen=True)
class LineageDrawing:
    """Nodes from left to right by age, and the SVG paths from their parents."""

    nodes: Sequence[Node]
    paths: Sequence[str]
    width: int
    height: int


def lineage(versions: Sequence[VersionInfo]) -> LineageDrawing:
    """Lay out versions, oldest first, each in its own column, so that nothing overlaps."""
    nodes = [
        Node(
            info.version,
            short_name(info.version),
            info.state if info.deleted_at is None else "deleted",
            _MARGIN + _STEP * column,
            _SERVED_Y if info.state in ("champion", "retired") else _OTHER_Y,
        )
        for column, info in enumerate(versions)
    ]
    by_name = {node.version: node for node in nodes}
    paths = [
        _path(by_name[info.parent], by_name[info.version], nodes)
        for info in versions
        if info.parent is not None and info.parent in by_name
    ]
    width = 2 * _MARGIN + _STEP * max(len(nodes) - 1, 0)
    return LineageDrawing(nodes, paths, width, max((node.y for node in nodes), default=_SERVED_Y) + _BELOW)


def short_name(version: str) -> str:
    """`v7` of `v7-9c41f2`; a base's name is shortened."""
    head = version.partition("-")[0]
    return head if len(head) <= 8 else f"{head[:7]}…"


def _path(parent: Node, child: Node, nodes: Sequence[Node]) -> str:
    """A straight line to the next node on the same line; otherwise around the nodes between, like a git graph."""
    between = any(node.y == parent.y and parent.x < node.x < child.x for node in nodes)
    if parent.y == child.y and not between:
        return f"M{parent.x} {parent.y}H{child.x}"
    if parent.y == child.y == _SERVED_Y:
        y, leave = _ABOVE_Y, f"Q{parent.x} {_ABOVE_Y} {parent.x + _BEND} {_ABOVE_Y}"
    else:  # down between the columns, where no name stands
        y, x = _BETWEEN_Y, parent.x + _STEP // 2
        leave = f"H{x - _BEND}Q{x} {parent.y} {x} {parent.y + _BEND}V{y - 4}Q{x} {y} {x + 4} {y}"
    return f"M{parent.x} {parent.y}{leave}H{child.x - _BEND}Q{child.x} {y} {child.x} {child.y}"
