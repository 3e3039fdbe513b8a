import pytest
from click.testing import CliRunner
from tests.support.scripted_studio import ScriptedStudio, scripted_studio

from captionloop.backend.cli import cli
from captionloop.backend.label_studio.supported_versions import too_old
from captionloop.settings import LABEL_STUDIO_VERSION, OLDEST_LABEL_STUDIO


@pytest.mark.parametrize("version", ["1.9.2.post0", "1.10.1dev", "0.9", "1.12.0"])
def test_a_release_before_the_oldest_that_was_tried_is_too_old(version: str) -> None:
    assert too_old(version) == (
        f"{version} is older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was tried with"
    )


@pytest.mark.parametrize("version", [OLDEST_LABEL_STUDIO, LABEL_STUDIO_VERSION, "1.100.0", "2.0", "1.12.1.post0"])
def test_the_oldest_that_was_tried_and_all_after_it_are_not(version: str) -> None:
    assert too_old(version) is None


@pytest.mark.parametrize("version", ["", "develop", "v"])
def test_nothing_is_said_of_a_version_without_numbers(version: str) -> None:
    assert too_old(version) is None


class TestConnecting:
    def test_an_old_label_studio_is_warned_of(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with scripted_studio() as studio:
            studio.release = "1.10.1dev"
            said = _connect(studio, redis_url, monkeypatch)
        assert said == (
            f"Warning: Label Studio 1.10.1dev is older than {OLDEST_LABEL_STUDIO}, the oldest that Captionloop was "
            f"tried with. Upgrade it: `pip install label-studio=={LABEL_STUDIO_VERSION}`, or the image "
            f"heartexlabs/label-studio:{LABEL_STUDIO_VERSION}.\n"
        )

    def test_any_other_is_connected_without_a_word(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with scripted_studio() as studio:
            said = _connect(studio, redis_url, monkeypatch)
        assert said == ""


def _connect(studio: ScriptedStudio, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command says beside its result."""
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", studio.token)
    monkeypatch.setenv("REDIS_URL", redis_url)
    done = CliRunner().invoke(cli, ["connect", "--project", "1"], obj={}, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr
