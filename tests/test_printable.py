"""No external text forges a log line or controls a terminal."""

import io
import json
import logging
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from captionloop.backend import commands
from captionloop.backend.cli import cli, main
from captionloop.backend.local.screen import Screen
from captionloop.backend.terminal import progress
from captionloop.backend.terminal.output import print_json, print_line, print_text
from captionloop.backend.terminal.progress import Progress
from captionloop.backend.terminal.table import table
from captionloop.logs import JSON, TEXT, formatter
from captionloop.printable import json_text, lines, one_line

FORGED = "2026-11-30 12:00:00,000 INFO captionloop: all is well"
HOSTILE = f"a\r\n{FORGED}\x1b[31mred\x1b]0;title\x07\x9b2J\x7f\u2028x\u202egnp.exe\udc80"
SHOWN = rf"a\r\n{FORGED}\x1b[31mred\x1b]0;title\x07\x9b2J\x7f\u2028x\u202egnp.exe\udc80"
_COMMANDING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def test_what_would_not_be_printed_is_shown() -> None:
    assert one_line(HOSTILE) == SHOWN
    assert lines("one\ntwo\x1b[2J\r") == "one\ntwo\\x1b[2J\\r"


@pytest.mark.parametrize("text", ["a cat", "eine Straße, 東京, עִבְרִית", "👩‍👩‍👧", "می‌خواهم", "a\\nb"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert one_line(text) == lines(text) == text


@given(st.text(st.characters(), max_size=40))
def test_any_text_becomes_a_line_that_can_be_printed(text: str) -> None:
    assert not _COMMANDING.search(one_line(text) + json_text(json.dumps(text, ensure_ascii=False)))
    assert "\n" not in one_line(text)
    assert json.loads(json_text(json.dumps(text, ensure_ascii=False))) == text
    one_line(text).encode()


def record(message: str, *, error: Exception | None = None) -> logging.LogRecord:
    made = logging.LogRecord("thing", logging.ERROR, "x.py", 1, "%s", (message,), None)
    if error is not None:
        made.exc_info = (type(error), error, None)
    made.belongs, made.request_id, made.job_id = "", None, None
    return made


class TestLogs:
    def test_a_record_for_people_is_one_line(self) -> None:
        assert formatter(TEXT).format(record(HOSTILE)).endswith(f"ERROR thing: {SHOWN}")

    def test_a_traceback_cannot_be_taken_for_other_records(self) -> None:
        first, *more = formatter(TEXT).format(record("oh", error=ValueError(f"x\n{FORGED}\x1b[2J"))).split("\n")

        assert first.endswith("ERROR thing: oh")
        assert more == ["  ValueError: x", f"  {FORGED}\\x1b[2J"]

    def test_a_record_as_json_is_one_line(self) -> None:
        line = formatter(JSON).format(record(HOSTILE, error=ValueError(HOSTILE)))

        assert not _COMMANDING.search(line)
        assert "\n" not in line
        assert json.loads(line)["message"] == HOSTILE


class TestTerminal:
    def test_lines_texts_and_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        print_line(HOSTILE)
        print_text("one\n\x1b[2J", err=True)
        print_json({"title": "a\x9b\u202e\n"})

        said = capsys.readouterr()
        assert said.out.splitlines() == [SHOWN, "{", '  "title": "a\\u009b\\u202e\\n"', "}"]
        assert said.err == "one\n\\x1b[2J\n"

    def test_a_table(self) -> None:
        assert table(["name", "value"], [[HOSTILE, "1"]]).split("\n")[1] == f"{SHOWN}  1"

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_a_progress_bar(self, monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
        written = io.StringIO()
        monkeypatch.setattr(written, "isatty", lambda: is_terminal)
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setattr(progress, "_QUIET_S", 0)
        monkeypatch.setattr(progress, "_LINE_EVERY_S", 0)
        with Progress(f"Reading {HOSTILE}") as bar:
            bar.update(1, 2, HOSTILE)

        assert SHOWN in written.getvalue()
        assert FORGED not in written.getvalue().split("\n")
        assert "\x1b[31m" not in written.getvalue()

    def test_what_captionloop_up_shows(self) -> None:
        class Terminal(io.StringIO):
            encoding = "utf-8"

            def isatty(self) -> bool:
                return True

        written = Terminal()
        screen = Screen(written)
        screen.draw(HOSTILE)
        screen.say(HOSTILE.replace("\n", " "))

        assert "\x1b[31m" not in written.getvalue()
        assert "\n" + FORGED not in written.getvalue()

    def test_errors(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        for arguments in (
            ["caption", str(tmp_path / HOSTILE)],
            ["dataset", "import", HOSTILE],
            [HOSTILE],
            ["--" + HOSTILE],
        ):
            with pytest.raises(SystemExit):
                main(arguments)
            said = capsys.readouterr()
            assert r"\x1b[31mred" in said.err, arguments
            assert not _COMMANDING.search(said.out + said.err), arguments

    def test_names_of_files(self, tmp_path: Path) -> None:
        name = "a\n\x1b[31m.png"
        (tmp_path / name).write_bytes(b"no picture")

        said = CliRunner().invoke(cli, ["caption", str(tmp_path)])

        assert r"a\n\x1b[31m.png" in said.output
        assert "\x1b" not in said.output

    def test_no_command_prints_past_it(self) -> None:
        """HTML alone, which is for a file."""
        texts = {path.name: path.read_text() for path in Path(commands.__path__[0]).glob("*.py")}
        found = {name: text.count("click.echo(") + text.count("print(") for name, text in texts.items()}

        assert {name: count for name, count in found.items() if count} == {"evaluation.py": 1}
