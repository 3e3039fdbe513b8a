import json
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.servers import STUDIO_VERSION, LabelStudioServer

from captionloop.backend.local import label_studio_server
from captionloop.backend.local.label_studio_server import Login
from captionloop.settings import Secret

_LOGIN = Login("someone@localhost", Secret("a-password"), Secret("ab" * 20))


class TestProgram:
    def test_secrets_are_not_among_the_arguments(self, tmp_path: Path) -> None:
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        arguments = " ".join(program.command)
        assert _LOGIN.password.reveal() not in arguments
        assert _LOGIN.token.reveal() not in arguments
        assert program.environment["LABEL_STUDIO_PASSWORD"] == _LOGIN.password.reveal()

    def test_label_studio_listens_on_loopback_only(self, tmp_path: Path) -> None:
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert program.command[-4:] == ("--internal-host", "127.0.0.1", "--port", "8080")

    def test_variables_meant_for_others_do_not_reach_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HOST", "DEBUG", "SECRET_KEY", "LABEL_STUDIO_PORT", "DJANGO_DB", "PYTHONHOME"):
            monkeypatch.setenv(name, "surprise")
        program = label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert "surprise" not in program.environment.values()

    def test_label_studios_data_is_closed_to_other_users(self, tmp_path: Path) -> None:
        label_studio_server.program(Path("/x/label-studio"), data=tmp_path / "data", port=8080, login=_LOGIN)
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_directory_without_a_database_has_no_data(tmp_path: Path) -> None:
    assert not label_studio_server.has_data(tmp_path)


class TestRunning:
    def test_label_studio_is_the_version_that_was_asked_for(self, label_studio_server: LabelStudioServer) -> None:
        with urllib.request.urlopen(f"{label_studio_server.url}/api/version") as answer:
            assert json.load(answer)["release"] == STUDIO_VERSION

    def test_the_token_of_label_studio_is_accepted(self, label_studio_server: LabelStudioServer) -> None:
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

    def test_label_studios_data_is_recognised(self, label_studio_server: LabelStudioServer) -> None:
        from captionloop.backend.local.label_studio_server import has_data

        assert has_data(label_studio_server.data)
