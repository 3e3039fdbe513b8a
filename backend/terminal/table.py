"""A table as text, for a terminal."""

from collections.abc import Iterable, Sequence

from captionloop.printable import one_line


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = False) -> str:
    """A table with minimal column widths.

    Args:
        figures: right-align all columns but the first and the last.
    """
    lines = [titles, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    on_the_right = range(1, len(widths) - 1) if figures else ()
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in on_the_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
