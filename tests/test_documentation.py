"""The documents say what the code does: every setting with its default, every command, every link."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from captionloop.backend.cli import cli
from captionloop.settings import LABEL_STUDIO_VERSION, OLDEST_LABEL_STUDIO, Settings

_ROOT = Path(__file__).parent.parent
_README = _ROOT / "README.md"
_SETTINGS = _ROOT / "docs" / "settings.md"
_COMMANDS = _ROOT / "docs" / "commands.md"
_DOCUMENTS = [*_ROOT.glob("*.md"), *(_ROOT / "docs").glob("*.md")]
_DEFAULTS = {"CAPTIONLOOP_HOME": "`~/.captionloop`", "CAPTIONLOOP_CACHE": "`~/.cache/captionloop`"}


def _expected_rows() -> list[str]:
    settings = [(item.metadata["variable"], item.default, item.metadata["help"]) for item in fields(Settings)]
    return [f"| `{variable}` | {_default(variable, default)} | {help} |" for variable, default, help in settings]


def _default(variable: str, value: object) -> str:
    if variable in _DEFAULTS:
        return _DEFAULTS[variable]
    return "" if value is None or value is MISSING or value == "" else f"`{value}`"


def test_the_table_of_settings_is_the_settings() -> None:
    rows = [re.sub(r" +", " ", line) for line in _SETTINGS.read_text(encoding="utf-8").splitlines()]
    variables = "|".join(item.metadata["variable"] for item in fields(Settings))
    found = [row for row in rows if re.match(rf"\| `(?:CAPTIONLOOP_\w+|{variables})` \|", row)]
    expected = [re.sub(r" +", " ", row) for row in _expected_rows()]
    assert found == expected, "The table in docs/settings.md should be:\n" + "\n".join(
        ["| variable | default | meaning |", "| --- | --- | --- |", *_expected_rows()]
    )


def test_the_readme_says_which_label_studio_is_needed() -> None:
    needed = f"Label Studio {OLDEST_LABEL_STUDIO} or newer (tried up to {LABEL_STUDIO_VERSION}"
    assert needed in _README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_is_documented(name: str) -> None:
    assert f"captionloop {name}" in _COMMANDS.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", cli.commands.values(), ids=lambda command: command.name)
def test_every_command_has_help_with_an_example(command: click.Command) -> None:
    assert command.help
    assert "Example:" in command.help
    assert f"captionloop {command.name}" in command.help


@pytest.mark.parametrize("command", cli.commands.values(), ids=lambda command: command.name)
def test_every_option_has_help(command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("target", re.findall(r"`(make [a-z]+)`", _README.read_text(encoding="utf-8")) or ["make help"])
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    makefile = (_README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target.removeprefix('make ')}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|mailto:)([^)#\s]*)#?([^)\s]*)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not _is_there(document, *link)] == []


def _is_there(document: Path, path: str, heading: str) -> bool:
    target = document.parent / path if path else document
    return target.exists() and (not heading or heading in _anchors(target))


def _anchors(document: Path) -> set[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
