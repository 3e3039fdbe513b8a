"""Versions loaded for the page Try: one at a time, with a timeout."""

from types import SimpleNamespace
from typing import Any, cast

from captionloop.backend.serving.loaded_versions import LoadedVersions
from captionloop.model.versions.store import VersionInfo


def version(name: str) -> VersionInfo:
    return cast(VersionInfo, SimpleNamespace(version=name))


def test_a_version_is_loaded_once_until_another_is_wanted() -> None:
    loads: list[str] = []

    def load(info: VersionInfo) -> Any:
        loads.append(info.version)
        return SimpleNamespace(version=info.version)

    loaded = LoadedVersions()
    for name in ("v1", "v1", "v2", "v1"):
        with loaded.lease(version(name), load) as captioner:
            assert captioner.version == name
    assert loads == ["v1", "v2", "v1"]


def test_a_loaded_version_is_dropped_a_while_after_its_last_use() -> None:
    loaded = LoadedVersions(kept_s=0)
    loads: list[str] = []

    def load(info: VersionInfo) -> Any:
        loads.append(info.version)
        return SimpleNamespace(version=info.version)

    with loaded.lease(version("v1"), load):
        pass
    timer = cast(Any, loaded)._drop
    timer.join()
    with loaded.lease(version("v1"), load):
        pass
    assert loads == ["v1", "v1"]
