"""JSON Lines: an object in each line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from captionloop.model.exchange.reading.fields import picture_and_captions, split_of
from captionloop.model.exchange.reading.json_stream import parsed_object
from captionloop.model.exchange.reading.rows import BadRow, Entry, Place, RowError
from captionloop.model.exchange.reading.text_files import Line, lines


def read_json_lines(path: Path) -> Iterator[Entry | BadRow]:
    """The entry of each line.

    Raises:
        CaptionFileError: the file cannot be read.
    """
    for line in lines(path):
        if isinstance(line, BadRow):
            yield line
        elif line.text.strip():
            yield _entry(Place(path, line.number), line)


def _entry(place: Place, line: Line) -> Entry | BadRow:
    try:
        values = parsed_object(line.text, "line")
        picture, captions = picture_and_captions(values)
    except RowError as error:
        return BadRow(place, str(error), line.share)
    return Entry(place, picture, captions, line.share, split=split_of(values))
