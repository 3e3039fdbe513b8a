"""Somebody who types `make demo`: they watch, and the loop turns."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.person import newcomer

from captionloop.home import Home

_WITHIN_S = 600


@pytest.mark.slow
@pytest.mark.label_studio
def test_the_demo_corrects_trains_and_promotes_by_itself(tmp_path: Path, cache: Path) -> None:
    somebody = newcomer(tmp_path, cache=cache)
    demo = somebody.starts("--rounds", "1", "--per-round", "20", command="demo")
    within = replace(
        somebody,
        home=Home(somebody.home.root / "demo"),
        environment=somebody.environment | {"CAPTIONLOOP_HOME": str(somebody.home.root / "demo")},
    )
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
