"""Datasets in files, read as a stream: pictures with the captions that people wrote for them.

    find_source  →  Source.rows  →  Row (a picture, its captions, its own name, its split) or BadRow (why not)

`sources` recognises the format and picks its reader. `tables`, `json_lines` and `json_documents` give what a file says;
`pictures` then finds the picture that is named. `sidecars` and `webdataset` have the pictures with the captions.
What anybody wrote into such files is bounded before it is parsed, and only regular files below the dataset's directory
are read.
"""

from captionloop.model.exchange.reading.rows import SPLITS, BadRow, PictureBytes, Place, Row, RowError, SplitName
from captionloop.model.exchange.reading.sources import FORMATS, Format, Source, find_source

__all__ = [
    "FORMATS", "SPLITS", "BadRow", "Format", "PictureBytes", "Place", "Row", "RowError", "Source", "SplitName",
    "find_source",
]  # fmt: skip
