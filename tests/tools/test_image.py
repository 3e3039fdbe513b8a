"""What `make image` makes of this machine, before it builds anything."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools.image import __main__ as image


def test_pips_configuration_is_lent_as_one_section_in_which_the_environment_wins() -> None:
    listed = ":env:.find-links='/elsewhere'\nglobal.find-links='/wheels'\nglobal.timeout='9'\nfreeze.timeout='10'\n"
    assert image.pip_settings(listed) == {"find-links": "/elsewhere", "timeout": "9"}


def test_files_that_pips_configuration_names_are_lent_as_well(tmp_path: Path) -> None:
    value = f"https://mirror.example/simple file://{tmp_path} {tmp_path}/none {tmp_path}"
    assert image.places_in(value) == [str(tmp_path)] * 2


@pytest.mark.parametrize(
    ("what", "value", "reason"),
    [
        ("sys.platform", "darwin", "for Linux"),
        ("shutil.which", lambda name: None, "buildah, runc, debootstrap, unshare not found"),
        ("os.getuid", lambda: 1000, "takes root"),
    ],
)
def test_where_it_cannot_be_done_the_reason_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, value: object, reason: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(what, value)
    monkeypatch.setattr("sys.argv", ["image"])
    image.main()
    assert reason in capsys.readouterr().out


def test_a_machine_that_forbids_mounting_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = subprocess.CompletedProcess([], 32, "", "mount: /mnt: permission denied.")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: refused)
    if sys.platform == "linux":
        assert image.why_not() == "mounting is not allowed here (mount: /mnt: permission denied.)."
