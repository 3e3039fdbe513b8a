"""A container as compose.yaml wants it: a read-only root, no capabilities, a user who is not root."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = 10001  # `captionloop` in the Dockerfile


def _specification(root: Path, config: Mapping[str, Any], environment: Mapping[str, str], data: Path) -> dict[str, Any]:
    """runc's specification, written out instead of based on `runc spec`, so that it contains nothing else."""
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        *(
            {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
            for place in ("/dev/shm", "/tmp")  # noqa: S108 (of the container)
        ),
        {"destination": "/data", "type": "bind", "source": str(data), "options": ["bind", "rw"]},
    ]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "mounts": system,
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": [*config["Entrypoint"], *config["Cmd"]],
            "env": [*config["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "cwd": config["WorkingDir"],
            "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
            "noNewPrivileges": True,
        },
        # The network is this machine's, so that it can be asked on a port of the loopback address.
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }


class Container:
    """A running container."""

    def __init__(self, runc: Sequence[str], name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._runc, self._name, self._process, self._log = runc, name, process, log

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def run(self, *command: str) -> str:
        """Another command in it, as its user; what that printed.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            [*self._runc, "exec", "--user", f"{USER}:{USER}", self._name, *command], stdout=subprocess.PIPE, text=True
        )
        done.check_returncode()
        return done.stdout


@contextmanager
def running(root: Path, config: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Container]:
    """The image's own command, and the end of it afterwards.

    Args:
        root: the image's files.
        config: what the image says of how it is run.
        environment: the variables that compose.yaml would set.
    """
    with tempfile.TemporaryDirectory(prefix="captionloop-container-") as directory:
        bundle, data, log = Path(directory) / "bundle", Path(directory) / "data", Path(directory) / "log"
        bundle.mkdir()
        data.mkdir(mode=0o700)
        subprocess.run(["chown", f"{USER}:{USER}", str(data)], check=True)
        specification = _specification(root, config, environment, data)
        (bundle / "config.json").write_text(json.dumps(specification), encoding="utf-8")
        runc, name = ["runc", "--root", f"{directory}/runc"], Path(directory).name
        with (
            log.open("wb") as file,
            subprocess.Popen([*runc, "run", "--bundle", str(bundle), name], stdout=file, stderr=file) as process,
        ):
            try:
                yield Container(runc, name, process, log)
            finally:
                process.terminate()
