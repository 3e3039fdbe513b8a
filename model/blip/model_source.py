"""Names of models: "starter", a directory, or a hub id. Separate from `checkpoint`, which imports torch."""

from pathlib import Path

from captionloop.model.starter import STARTER_DIR

STARTER = "starter"  # the small model that ships with Captionloop


def local_directory(source: str | Path) -> Path | None:
    """The directory of a source; None if it is not a local directory, and so perhaps a hub id."""
    if str(source) == STARTER:
        return STARTER_DIR
    directory = Path(source).expanduser()
    return directory if directory.is_dir() else None
