"""Memory allocation of a process that trains."""

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc's malloc keep freed memory for later tensors, until the process ends.

    Otherwise it returns each large tensor to the system, which must zero the pages of the next one: a quarter of a step
    of full fine-tuning (`captionloop bench`). No effect with other C libraries.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        is_kept = libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1)
        logger.debug("Freed memory is kept: %s", bool(is_kept))
