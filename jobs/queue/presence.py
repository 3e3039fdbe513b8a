"""What a backend or a worker says of itself to people: its host, what it computes with, its settings.

Each says it every few seconds (`Queue.say_present`). `captionloop doctor` and the page Health list them, and a run's
page names its worker. Nothing is decided by it.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from socket import gethostname
from typing import Any

from captionloop.package_version import __version__
from captionloop.settings import Settings

BACKEND, WORKER = "backend", "worker"
# Those that change what is served or learnt; of the others each host may have its own.
_THE_SAME = ("model", "beams", "prompt", "gate", "server_name", "max_image_mb", "max_image_megapixels")
_NVIDIA_WITHIN_S = 10


@dataclass(frozen=True)
class Presence:
    """A process that is there.

    Args:
        computes_on: the names of its GPUs, or `cpu`.
        settings: those that should be the same in all processes.
    """

    kind: str
    host: str
    pid: int
    release: str
    computes_on: str
    settings: Mapping[str, Any]

    @classmethod
    def of_this_process(cls, kind: str, settings: Settings) -> "Presence":
        return cls(
            kind=kind,
            host=gethostname(),
            pid=os.getpid(),
            release=__version__,
            computes_on=_computes_on(settings.device),
            settings={name: getattr(settings, name) for name in _THE_SAME},
        )

    @property
    def id(self) -> str:
        return process_id(self.pid, self.host)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def process_id(pid: int, host: str | None = None) -> str:
    """HOST:PID, by default of this host."""
    return f"{host or gethostname()}:{pid}"


def differences(processes: Sequence[Presence]) -> Mapping[str, Mapping[str, str]]:
    """By the ids of processes that differ from most others: setting (or `release`) and value."""
    found = {process.id: {**process.settings, "release": process.release} for process in processes}
    names = sorted({name for facts in found.values() for name in facts})
    usual = {name: Counter(str(facts.get(name)) for facts in found.values()).most_common(1)[0][0] for name in names}
    other = {
        process: {name: str(facts.get(name)) for name in names if str(facts.get(name)) != usual[name]}
        for process, facts in found.items()
    }
    return {process: facts for process, facts in other.items() if facts}


def _computes_on(device: str) -> str:
    """What a process with this setting computes on; no driver is initialised, as jobs are forked later."""
    if device not in {"auto", "cuda"}:
        return device
    return ", ".join(nvidia("name")) or ("mps" if sys.platform == "darwin" else "cpu")


def nvidia(fact: str) -> Sequence[str]:
    """A fact of each NVIDIA GPU that this process may use, by `nvidia-smi`; none without one."""
    command, visible = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if command is None or visible == "":
        return ()
    chosen = [f"--id={visible}"] if visible else []
    query = [command, *chosen, f"--query-gpu={fact}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_NVIDIA_WITHIN_S)
    except subprocess.TimeoutExpired:
        return ()
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else ()
