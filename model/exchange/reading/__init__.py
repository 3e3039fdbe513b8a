"""Streaming readers of captioned datasets.

    find_source  →  Source.rows  →  Row (a picture, its captions, its name, its split) or BadRow (why not)

`sources` recognises the format and picks its reader. `tables`, `json_lines` and `json_documents` parse caption files;
`pictures` then resolves picture names. `sidecars` and `webdataset` have the pictures beside the captions. Files are
untrusted: sizes are bounded before parsing, and only regular files below the dataset's directory are read.
"""

from captionloop.model.exchange.reading.rows import SPLITS, BadRow, PictureBytes, Place, Row, RowError, SplitName
from captionloop.model.exchange.reading.sources import FORMATS, Format, Source, find_captions, find_source

__all__ = [
    "FORMATS", "SPLITS", "BadRow", "Format", "PictureBytes", "Place", "Row", "RowError", "Source", "SplitName",
    "find_captions", "find_source",
]  # fmt: skip
