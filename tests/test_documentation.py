"""The README says what the code does: every setting with its default, every command."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from captionloop.backend.cli import cli
from captionloop.settings import LABEL_STUDIO_VERSION, OLDEST_LABEL_STUDIO, Settings

_README = Path(__file__).parent.parent / "README.md"
_DEFAULTS = {"CAPTIONLOOP_HOME": "`~/.captionloop`", "CAPTIONLOOP_CACHE": "`~/.cache/captionloop`"}


def _expected_rows() -> list[str]:
    settings = [(item.metadata["variable"], item.default, item.metadata["help"]) for item in fields(Settings)]
    return [f"| `{variable}` | {_default(variable, default)} | {help} |" for variable, default, help in settings]


def _default(variable: str, value: object) -> str:
    if variable in _DEFAULTS:
        return _DEFAULTS[variable]
    return "" if value is None or value is MISSING or value == "" else f"`{value}`"


def test_the_table_of_settings_is_the_settings() -> None:
    rows = [re.sub(r" +", " ", line) for line in _README.read_text(encoding="utf-8").splitlines()]
    variables = "|".join(item.metadata["variable"] for item in fields(Settings))
    found = [row for row in rows if re.match(rf"\| `(?:CAPTIONLOOP_\w+|{variables})` \|", row)]
    expected = [re.sub(r" +", " ", row) for row in _expected_rows()]
    assert found == expected, "The README's table should be:\n" + "\n".join(
        ["| variable | default | meaning |", "| --- | --- | --- |", *_expected_rows()]
    )


def test_the_readme_says_which_label_studio_is_needed() -> None:
    needed = f"Label Studio {OLDEST_LABEL_STUDIO} or newer (tried up to {LABEL_STUDIO_VERSION}"
    assert needed in _README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"captionloop {name}" in _README.read_text(encoding="utf-8")


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


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", _README.read_text(encoding="utf-8"))
    assert [link for link in links if not (_README.parent / link).exists()] == []
