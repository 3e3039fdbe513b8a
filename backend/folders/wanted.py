"""What somebody wants a project of: the arguments of `captionloop project create` and `captionloop up --images`."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

As = Literal["suggestions", "corrections"]
"""What captions that are there become: predictions to be corrected, or annotations."""

_TITLE_LENGTHS = (3, 50)  # what Label Studio takes


@dataclass(frozen=True)
class Wanted:
    """What somebody wants a project of.

    Args:
        title: None: the directory's name.
        captions: the file of captions; None: what lies in the directory.
        captions_as: what captions become.
        control: the name of the text box; None: "caption", or what an existing project has.
        by_line: whether each line of a picture's own text is a caption.
        is_new: whether to make a project although there is one of this title and directory.
    """

    images: Path
    title: str | None = None
    captions: Path | None = None
    captions_as: As = "suggestions"
    control: str | None = None
    by_line: bool = False
    is_new: bool = False

    @property
    def directory(self) -> Path:
        return self.images.resolve()

    @property
    def project_title(self) -> str:
        least, most = _TITLE_LENGTHS
        title = " ".join((self.title or self.directory.name or "Pictures").split())[:most].strip()
        return title if len(title) >= least else f"Pictures {title}".strip()

    @property
    def description(self) -> str:
        """By which a project is recognised that a crash left unnoted."""
        return f"Pictures of {self.directory} on {socket.gethostname()}."
