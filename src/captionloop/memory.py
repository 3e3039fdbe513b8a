"""How a process that trains handles its memory."""

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for its next tensors, until it ends.

    Otherwise glibc gives each large tensor back to the system, which has to clear the pages of the next one: of a step
    of full fine-tuning that was a quarter (`captionloop bench`). Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        is_kept = libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1)
        logger.debug("Freed memory is kept: %s", bool(is_kept))
