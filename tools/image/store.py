"""Images in a directory of ours, handled by buildah as root: no daemon, no registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Layer:
    """One layer of an image; its size in bytes, unpacked."""

    digest: str
    size: int


class Store:
    """buildah's images in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._buildah = [
            "buildah", "--root", str(directory / "images"), "--runroot", str(directory / "run"),
            "--storage-driver", "overlay",
        ]  # fmt: skip

    def has(self, image: str) -> bool:
        return (
            subprocess.run([*self._buildah, "inspect", "--type", "image", image], capture_output=True).returncode == 0
        )

    def make(self, image: str, archive: Path, *, environment: str) -> None:
        """An image of one layer: what is in a tar file."""
        container = self._said("from", "scratch")
        self._said("add", "--quiet", container, str(archive), "/")
        self._said("config", "--env", environment, container)
        self._said("commit", "--quiet", "--rm", "--format", "docker", container, image)

    def build(self, image: str, context: Path, options: Sequence[str]) -> None:
        """Build the Dockerfile in `context`. In Docker's format, since OCI has no health check."""
        subprocess.run(
            [*self._buildah, "build", "--isolation", "chroot", "--network", "host", "--format", "docker", "--layers",
             "--tag", image, *options, str(context)],
            check=True,
        )  # fmt: skip

    def config(self, image: str) -> dict[str, Any]:
        """The image's configuration: `Env`, `User`, `Entrypoint`, `Healthcheck` and so on."""
        config: dict[str, Any] = json.loads(self._said("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    def layers(self, image: str) -> list[Layer]:
        manifest = json.loads(json.loads(self._said("inspect", "--type", "image", image))["Manifest"])
        return [Layer(layer["digest"], layer["size"]) for layer in manifest["layers"]]

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's files, in a directory, for the time being."""
        container = self._said("from", "--pull-never", image)
        try:
            yield Path(self._said("mount", container))
        finally:
            self._said("rm", container)

    def _said(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._buildah, *arguments], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
