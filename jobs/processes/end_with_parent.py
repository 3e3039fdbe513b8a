"""Ends a child process with its parent: a killed parent cannot end its children itself."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """End this process when `parent`, which started it, ends in any way.

    On Linux the kernel kills this process at that moment (PR_SET_PDEATHSIG). Elsewhere a thread checks once a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), name="end-with-parent", daemon=True).start()


def end_with_starter() -> None:
    """End this process of `multiprocessing` when the one that started it ends in any way.

    That need not be its parent: the kernel's parent may be a server that outlives it.
    """
    starter = multiprocessing.parent_process()
    assert starter is not None

    def watch() -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-starter", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
