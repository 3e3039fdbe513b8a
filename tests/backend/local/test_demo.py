"""Somebody who types `make demo`: they watch, and the loop turns."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.person import newcomer

from captionloop.backend.cli import main
from captionloop.backend.commands.shared import language_option
from captionloop.home import Home
from captionloop.model.starter.languages import LANGUAGES

_WITHIN_S = 600


def test_a_language_without_captions_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONLOOP_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as end:
        main(["demo", "--language", "tlh"])
    assert end.value.code
    assert "in 'tlh'; choose one of ar (Arabic), de (German)" in capsys.readouterr().err
    assert not (tmp_path / "home" / "demo").exists()


def test_the_help_names_every_language() -> None:
    @language_option
    def command() -> None: ...

    (option,) = command.__click_params__  # type: ignore[attr-defined]
    named = option.help.partition(": ")[2].partition(".")[0]
    assert named.replace(" or ", ", ").split(", ") == sorted(LANGUAGES)


@pytest.mark.slow
@pytest.mark.label_studio
@pytest.mark.parametrize("language", [None, "de"])
def test_the_demo_corrects_trains_and_promotes_by_itself(tmp_path: Path, cache: Path, language: str | None) -> None:
    somebody = newcomer(tmp_path, cache=cache)
    chosen = ("--language", language) if language else ()
    demo = somebody.starts("--rounds", "1", "--per-round", "20", *chosen, command="demo")
    home = somebody.home.root / "demo" / (language or "")
    within = replace(somebody, home=Home(home), environment=somebody.environment | {"CAPTIONLOOP_HOME": str(home)})
    try:
        deadline = time.monotonic() + _WITHIN_S
        while "The scripted annotator is done." not in somebody.screen():
            assert demo.poll() is None, somebody.screen()
            assert time.monotonic() < deadline, somebody.screen()
            time.sleep(0.5)
        status = within.asks("status")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)

    assert status["corrections"] == 20
    assert status["champion"].startswith("v1-")
