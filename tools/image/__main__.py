"""Build the image as root with Debian's buildah, start it with runc as compose.yaml would, and ask for its health.

It needs `apt install buildah runc debootstrap`. Certificates and pip's configuration are lent to the build; none of it
is in the image. It says how large the layers are, and which of them a change of our code alters.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tools.image import base
from tools.image.container import Container, running
from tools.image.store import Layer, Store

_ROOT = Path(__file__).parents[2]
_IMAGE = "captionloop"
_PIP = [sys.executable, "-m", "pip"]
_PROGRAMS = ("buildah", "runc", "debootstrap", "unshare")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What the Dockerfile copies.
_CONTEXT = (
    "Dockerfile", ".dockerignore", "backend", "jobs", "model", "src", "pyproject.toml", "requirements.lock",
    "requirements-cpu.lock", "MANIFEST.in", "README.md", "LICENSE",
)  # fmt: skip
_HEALTHY_WITHIN_S = 300
# What a change of ours may ship.
_MOST_CHANGED = 50_000_000
_UNWANTED = ("pip", "ensurepip", "tensorboard", "torch/test", "torch/include")
_EVERY_MODULE = """
import importlib, pkgutil, captionloop
names = [found.name for found in pkgutil.walk_packages(captionloop.__path__, "captionloop.")]
left_out = ("migrations.env", "migrations.versions", "label_studio_ml_adapter")  # Alembic's; an extra's
for name in names:
    if not any(part in name for part in left_out):
        importlib.import_module(name)
"""


def main() -> None:
    options = argparse.ArgumentParser(prog="make image", description=__doc__)
    options.add_argument("--python", choices=base.SUITES, help="the base's Python")
    options.add_argument("--torch", choices=("cpu", "cuda", "index"), help="the build argument TORCH")
    options.add_argument("--store", type=Path, default=_ROOT / "build" / "image", help="where the images are kept")
    chosen = options.parse_args()
    if reason := why_not():
        print(f"Skipped, no image was built: {reason}")
        return
    store = Store(chosen.store)
    found, torch = where_torch_is()
    python, torch = chosen.python or found, chosen.torch or torch
    print(f"With Python {python} and TORCH={torch}.", flush=True)
    base.ensure(store, python)
    with tempfile.TemporaryDirectory(prefix="captionloop-image-") as directory:
        context = Path(directory) / "context"
        arguments = ["--build-arg", f"PYTHON={python}", "--build-arg", f"TORCH={torch}"]
        arguments += lent(Path(directory))
        copy_context(context)
        began = time.monotonic()
        store.build(_IMAGE, context, arguments)
        seconds = time.monotonic() - began
        layers = store.layers(_IMAGE)
        changed = _after_a_change(store, context, arguments, layers)
    print(f"\nBuilt in {seconds:.0f} s with Python {python} and TORCH={torch}. Layers, unpacked:")
    for layer in layers:
        print(f"  {layer.size / 1e6:8.1f} MB  {layer.digest[7:19]}")
    print(f"  {sum(layer.size for layer in layers) / 1e6:8.1f} MB  together")
    altered = sum(layer.size for layer in changed)
    print(f"A change of our code alters {altered / 1e6:.1f} MB, in {len(changed)} layers.")
    if altered > _MOST_CHANGED:
        sys.exit(f"That is more than {_MOST_CHANGED / 1e6:.0f} MB.")
    _try(store)


def why_not() -> str | None:
    """The reason why it cannot be done on this machine; None where it can."""
    if sys.platform != "linux":
        return "buildah and runc are for Linux."
    if missing := [program for program in _PROGRAMS if not shutil.which(program)]:
        return f"{', '.join(missing)} not found (apt install buildah runc debootstrap)."
    if os.getuid() != 0:
        return "it takes root, for mounting."
    mounting = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    tried = subprocess.run(mounting, capture_output=True, text=True)
    return f"mounting is not allowed here ({tried.stderr.strip()})." if tried.returncode else None


def where_torch_is() -> tuple[str, str]:
    """The newest Python for which pip finds the PyTorch of requirements-cpu.lock, and TORCH=index; else TORCH=cpu."""
    pin = re.match(r"torch==(\S+)", (_ROOT / "requirements-cpu.lock").read_text(encoding="utf-8"))
    assert pin, "requirements-cpu.lock pins PyTorch"
    for python in base.SUITES:
        asked = [*_PIP, "index", "versions", "torch", "--python-version", python, "--only-binary=:all:"]
        if pin[1] in re.split(r"[\s,()]+", subprocess.run(asked, capture_output=True, text=True).stdout):
            return python, "index"
    return next(iter(base.SUITES)), "cpu"


def lent(directory: Path) -> list[str]:
    """Options for buildah by which a build has this machine's certificates and pip's configuration, and the image not.

    Args:
        directory: for the files that configure pip and uv in the build.
    """
    listed = subprocess.run([*_PIP, "config", "list"], capture_output=True, text=True, check=True)
    settings = pip_settings(listed.stdout)
    file = directory / "pip.conf"
    file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items()), ""]))
    places = [place for value in settings.values() for place in places_in(value)]
    if Path(_CERTIFICATES).exists():
        places.append(_CERTIFICATES)
    uv = directory / "uv.toml"
    uv.write_text("system-certs = true\n")
    volumes = [
        f"{file}:/etc/pip.conf:ro",
        f"{uv}:/etc/uv/uv.toml:ro",
        *(f"{place}:{place}:ro" for place in dict.fromkeys(places)),
    ]
    return [word for volume in volumes for word in ("--volume", volume)]


def pip_settings(listed: str) -> dict[str, str]:
    """The settings in the output of `pip config list`, as one section: the environment wins, as with pip."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in found:
            found[section][option] = " ".join(str(ast.literal_eval(value)).split())
    return {option: value for section in found.values() for option, value in section.items()}


def places_in(value: str) -> list[str]:
    """The files and directories of this machine that a setting names."""
    words = [word.removeprefix("file://localhost").removeprefix("file://") for word in value.split()]
    return [word for word in words if word.startswith("/") and Path(word).exists()]


def copy_context(directory: Path) -> None:
    directory.mkdir()
    left = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in _CONTEXT:
        if (_ROOT / name).is_dir():
            shutil.copytree(_ROOT / name, directory / name, symlinks=True, ignore=left)
        else:
            shutil.copy2(_ROOT / name, directory / name)


def _after_a_change(store: Store, context: Path, arguments: list[str], before: list[Layer]) -> list[Layer]:
    """The layers that another line in one module of ours alters."""
    with (context / "backend" / "cli.py").open("a", encoding="utf-8") as module:
        module.write("# another line\n")
    store.build(f"{_IMAGE}:changed", context, arguments)
    return [layer for layer in store.layers(f"{_IMAGE}:changed") if layer not in before]


def _try(store: Store) -> None:
    config = store.config(_IMAGE)
    assert config["User"] == "captionloop", config["User"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "CAPTIONLOOP_HOST": "127.0.0.1", "CAPTIONLOOP_PORT": str(port), "REDIS_URL": "redis://localhost:9/0",
        "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "0" * 40, "CAPTIONLOOP_PASSWORD": "trial",
    }  # fmt: skip
    with store.mounted(_IMAGE) as root:
        found = sorted(str(path.relative_to(root)) for name in _UNWANTED for path in root.rglob(f"*-packages/{name}"))
        if found:
            sys.exit(f"The image holds what it should not: {', '.join(found)}")
        began = time.monotonic()
        with running(root, config, environment) as container:
            _wait_until_healthy(container, f"http://127.0.0.1:{port}/health")
            print(f"/health answered after {time.monotonic() - began:.0f} s.")
            container.run(*config["Healthcheck"]["Test"][1:])
            print("So did the image's own health check.")
            container.run("python", "-c", _EVERY_MODULE)
            print("Every module of ours can be imported in it.")


def _wait_until_healthy(container: Container, url: str) -> None:
    deadline = time.monotonic() + _HEALTHY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=3):  # noqa: S310 (our own address)
                return
        except OSError:
            if container.has_ended() or time.monotonic() > deadline:
                sys.exit(f"The container did not answer:\n{container.log()}")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
