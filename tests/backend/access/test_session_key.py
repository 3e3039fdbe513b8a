"""The key of the pages' sessions, which all backends of an installation need to have in common."""

import base64
from pathlib import Path

from captionloop.backend.access.session_key import session_key
from captionloop.home import Home
from captionloop.seal import Seal
from captionloop.settings import Secret

_KEY = Secret(base64.b64encode(bytes(range(32))).decode())


def test_backends_with_separate_homes_have_it_in_common_by_captionloop_key(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name) for name in ("first", "second")]

    first, second = (session_key(home, Seal(home, _KEY)) for home in homes)

    assert first == second
    assert _KEY.reveal().encode() not in first
    assert not any(home.session_key.exists() for home in homes)


def test_without_captionloop_key_it_is_made_once_in_the_home(home: Home) -> None:
    assert session_key(home, Seal(home)) == session_key(home, Seal(home))
    assert home.session_key.exists()
