"""The styles of a project, as pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from captionloop.model.dataset.styles import StyleInfo, styles_of
from captionloop.model.versions.store import VersionInfo


@dataclass(frozen=True)
class Styles:
    """The styles of a project that has one with a name, or whose champion has.

    Args:
        all: the one without a name first.
        champion: the version that serves.
        written: the style that its suggestions are in.
        known: the styles that it was taught, by name.
    """

    all: Sequence[StyleInfo]
    champion: str
    written: str | None
    known: frozenset[str | None]

    @property
    def current(self) -> StyleInfo:
        """New corrections belong to it."""
        return next(style for style in self.all if style.is_current)

    @property
    def is_followed(self) -> bool:
        """Whether suggestions are in the current style."""
        return self.written == self.current.name


def read_styles(session: Session, project_id: int, champion: VersionInfo) -> Styles | None:
    """None: there is one style only, which has no name."""
    found, generation = styles_of(session, project_id), champion.generation
    if len(found) == 1 and not generation.styles:
        return None
    current = next(style.name for style in found if style.is_current)
    return Styles(found, champion.version, generation.written_in(current), frozenset([None, *generation.styles]))
