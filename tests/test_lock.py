"""requirements.lock holds exactly what pyproject.toml asks for; `make lock` makes it anew."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parent.parent
_LOCK = (_ROOT / "requirements.lock").read_text(encoding="utf-8")
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_ASKED = [Requirement(line) for line in _PROJECT["dependencies"] + _PROJECT["optional-dependencies"]["postgres"]]
_PINNED = [entry.split("\\\n") for entry in re.split(r"\n(?=\S)", _LOCK.strip()) if not entry.startswith("#")]
# Of each Python that Captionloop runs on, and of the systems that people have.
_PLACES = [
    {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system, "extra": ""}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for system in ("linux", "darwin")
]


def _pins(place: dict[str, str]) -> dict[str, Requirement]:
    found = [Requirement(lines[0].strip()) for lines in _PINNED]
    return {canonicalize_name(pin.name): pin for pin in found if pin.marker is None or pin.marker.evaluate(place)}


def _version(pin: Requirement) -> str:
    (only,) = pin.specifier
    return only.version


def test_everything_is_pinned_to_one_version_with_hashes() -> None:
    for first, *hashes in _PINNED:
        assert [part.operator for part in Requirement(first.strip()).specifier] == ["=="], first
        assert hashes, first
        assert all(re.fullmatch(r"\s*--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes), first


@pytest.mark.parametrize("place", _PLACES, ids=lambda place: f"{place['python_version']}-{place['sys_platform']}")
def test_what_is_asked_for_is_there_in_a_version_that_will_do(place: dict[str, str]) -> None:
    pins = _pins(place)
    wrong = [
        str(asked)
        for asked in _ASKED
        if (asked.marker is None or asked.marker.evaluate(place))
        and not (
            (pin := pins.get(canonicalize_name(asked.name)))
            and asked.specifier.contains(_version(pin), prereleases=True)
        )
    ]
    assert wrong == [], "run `make lock`"


def test_the_lock_file_names_no_index() -> None:
    """It is for whichever one an installation uses."""
    assert re.findall(r"\w+://\S+|--(?:index|extra-index|find-links)\S*", _LOCK) == []
