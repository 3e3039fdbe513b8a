import json
import subprocess
import threading
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.servers import STUDIO_VERSION, LabelStudioServer

from captionloop.backend.local import label_studio_server
from captionloop.backend.local.label_studio_server import Login
from captionloop.errors import ServiceError
from captionloop.settings import LABEL_STUDIO_VERSION, Secret

_LOGIN = Login("someone@localhost", Secret("a-password"), Secret("ab" * 20))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A package that brings the command `label-studio` and nothing else, so that pip has little to do."""
    wheel = tmp_path_factory.mktemp("wheel") / "label_studio-1.23.2-py3-none-any.whl"
    info = "label_studio-1.23.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_label_studio.py", "def main():\n    print('tiny')\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: label-studio\nVersion: 1.23.2\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nlabel-studio = tiny_label_studio:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return str(wheel)


def _install(cache: Path, requirement: str, said: list[str] | None = None) -> Path:
    return label_studio_server.install(
        cache, progress=(said if said is not None else []).append, requirement=requirement
    )


@pytest.fixture(scope="module")
def installed(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    assert not label_studio_server.is_installed(cache)
    _install(cache, tiny)
    return cache


@pytest.mark.slow
class TestInstalling:
    def test_it_gets_a_virtual_environment_of_its_own(self, installed: Path, tiny: str) -> None:
        command = _install(installed, tiny)
        assert subprocess.check_output([command], text=True) == "tiny\n"
        assert label_studio_server.is_installed(installed)

    def test_the_second_time_there_is_nothing_to_do(self, installed: Path) -> None:
        command = _install(installed, "no-such-package-because-pip-is-not-asked")
        assert command.exists()

    def test_what_a_crash_left_half_made_is_made_anew(self, installed: Path, tiny: str) -> None:
        venv = _install(installed, tiny).parent.parent
        (venv / "complete.json").unlink()
        (venv / "half").touch()
        assert not label_studio_server.is_installed(installed)
        assert _install(installed, tiny).exists()
        assert not (venv / "half").exists()

    def test_so_is_one_whose_python_has_gone(self, installed: Path, tiny: str) -> None:
        python = _install(installed, tiny).parent / "python"
        python.unlink()
        python.symlink_to("/nowhere/python")
        assert not label_studio_server.is_installed(installed)
        assert _install(installed, tiny).exists()
        assert python.exists()

    def test_two_at_once_install_it_once(self, tmp_path: Path, tiny: str) -> None:
        said: list[list[str]] = [[], []]
        threads = [threading.Thread(target=_install, args=(tmp_path, tiny, lines)) for lines in said]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(any("another Captionloop" in line for line in lines) for lines in said) == 1
        assert label_studio_server.is_installed(tmp_path)

    def test_when_pip_fails_the_log_and_the_way_out_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ServiceError) as caught:
            _install(tmp_path, str(tmp_path / "missing-1.0-py3-none-any.whl"))
        assert "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in str(caught.value)
        assert f"label-studio-{LABEL_STUDIO_VERSION}" in str(caught.value)
        assert not label_studio_server.is_installed(tmp_path)


class TestProgram:
    def test_secrets_are_not_among_the_arguments(self, tmp_path: Path) -> None:
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        arguments = " ".join(program.command)
        assert _LOGIN.password.reveal() not in arguments
        assert _LOGIN.token.reveal() not in arguments
        assert program.environment["LABEL_STUDIO_PASSWORD"] == _LOGIN.password.reveal()

    def test_it_listens_on_loopback_only(self, tmp_path: Path) -> None:
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert program.command[-4:] == ("--internal-host", "127.0.0.1", "--port", "8080")

    def test_variables_meant_for_others_do_not_reach_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HOST", "DEBUG", "SECRET_KEY", "LABEL_STUDIO_PORT", "DJANGO_DB", "PYTHONHOME"):
            monkeypatch.setenv(name, "surprise")
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert "surprise" not in program.environment.values()

    def test_its_data_is_closed_to_other_users(self, tmp_path: Path) -> None:
        label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_directory_without_a_database_has_no_data(tmp_path: Path) -> None:
    assert not label_studio_server.has_data(tmp_path)


class TestRunning:
    def test_it_is_the_version_that_was_asked_for(self, label_studio_server: LabelStudioServer) -> None:
        with urllib.request.urlopen(f"{label_studio_server.url}/api/version") as answer:
            assert json.load(answer)["release"] == STUDIO_VERSION

    def test_its_token_is_accepted(self, label_studio_server: LabelStudioServer) -> None:
        request = urllib.request.Request(
            f"{label_studio_server.url}/api/current-user/whoami",
            headers={"Authorization": f"Token {label_studio_server.token}"},
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["email"] == label_studio_server.email

    def test_nobody_reaches_it_from_outside(self, label_studio_server: LabelStudioServer) -> None:
        port = urlsplit(label_studio_server.url).port
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert {row[1] for row in rows if row[3] == "0A" and int(row[1][-4:], 16) == port} == {f"0100007F:{port:04X}"}

    def test_strangers_cannot_sign_up(self, label_studio_server: LabelStudioServer) -> None:
        with httpx.Client(base_url=label_studio_server.url) as stranger:
            stranger.get("/user/signup/").raise_for_status()
            answer = stranger.post(
                "/user/signup/",
                data={"email": "stranger@localhost", "password": "let-me-in-123", "allow_newsletters": "false"},
                headers={"X-CSRFToken": stranger.cookies["csrftoken"]},
            )
            assert answer.status_code == 403
            owner = {"Authorization": f"Token {label_studio_server.token}"}
            users = stranger.get("/api/users/", headers=owner).raise_for_status().json()
        assert "stranger@localhost" not in [user["email"] for user in users]

    def test_its_data_is_recognised(self, label_studio_server: LabelStudioServer) -> None:
        from captionloop.backend.local.label_studio_server import has_data

        assert has_data(label_studio_server.data)
