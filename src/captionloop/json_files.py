"""JSON files that others may have written, read with bounds."""

import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20


def load_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The content of a regular file; a pipe or device is never waited for.

    Raises:
        OSError: the file does not exist, or cannot be read.
        ValueError: it is too large, no regular file, no JSON, or JSON of too many levels; as the end of a sentence,
            "PATH …".
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is no regular file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"has more than {most_bytes >> 20} MiB")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("is no valid JSON: it has too many levels") from error
    except ValueError as error:
        raise ValueError(f"is no valid JSON: {error}") from error
