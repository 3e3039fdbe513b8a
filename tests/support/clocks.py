"""Processes whose clock is wrong, by libfaketime."""

from tests.support.installed import library


def clock_off_by(seconds: int) -> dict[str, str]:
    """The environment of a process that takes it for so much later; where there is no libfaketime, the test is skipped.

    Only what time it is changes: how long something takes is measured as ever.
    """
    return {
        "LD_PRELOAD": str(library("libfaketime.so.1", package="faketime")),
        "FAKETIME": f"{seconds:+d}s",
    }
