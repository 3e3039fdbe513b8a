"""CPU time and peak memory of a piece of work, in its own process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import dataclass

from tests.support.peak_memory import peak_bytes


@dataclass(frozen=True)
class Used:
    """
    Args:
        cpu_s: CPU time of all threads, in seconds.
        peak_mb: peak memory, in MB.
    """

    cpu_s: float
    peak_mb: float


def measured(module: str, *arguments: str) -> Used:
    """Run a module of ours with arguments that let it do the work and end with `say_used`."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE)
    return Used(*json.loads(done.stdout))


def say_used() -> None:
    """Tell `measured`, from the process that did the work."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([used.ru_utime + used.ru_stime, peak_bytes() / 2**20]))
