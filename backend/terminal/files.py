"""Result files that a person named."""

from pathlib import Path

from captionloop.errors import CaptionFileError


def write_text_file(path: Path, text: str) -> None:
    """Write a result to a file, in UTF-8.

    Raises:
        CaptionFileError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CaptionFileError(f"{path} cannot be written: {error.strerror}.") from error
