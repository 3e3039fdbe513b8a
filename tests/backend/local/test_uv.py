"""What pip is set up with, as `pip config list` prints it, said to uv."""

import subprocess
import sys
from pathlib import Path

import pytest

from captionloop.backend.local import uv


def _as_pip(*lines: str, **environment: str) -> dict[str, str]:
    variables = uv.as_pip("\n".join(lines), environment)
    assert variables is not None
    return dict(variables)


@pytest.mark.parametrize(
    ("line", "variable", "value"),
    [
        ("global.index-url='https://who:word@mirror.example/simple'", "UV_DEFAULT_INDEX", "https://who:word@mirror.example/simple"),
        ("global.extra-index-url='https://a.example\\nhttps://b.example'", "UV_INDEX", "https://a.example https://b.example"),
        ("global.find-links='/wheels /more'", "UV_FIND_LINKS", "/wheels,/more"),
        ("global.cert='/etc/ssl/site.pem'", "SSL_CERT_FILE", "/etc/ssl/site.pem"),
        ("global.client-cert='/etc/ssl/me.pem'", "SSL_CLIENT_CERT", "/etc/ssl/me.pem"),
        ("global.trusted-host='a.example b.example:8443'", "UV_INSECURE_HOST", "a.example b.example:8443"),
        ("global.proxy='http://proxy.example:3128'", "ALL_PROXY", "http://proxy.example:3128"),
        ("install.constraint='/etc/constraints.txt'", "UV_CONSTRAINT", "/etc/constraints.txt"),
        (":env:.index_url='https://mirror.example'", "UV_DEFAULT_INDEX", "https://mirror.example"),
    ],
)  # fmt: skip
def test_each_pip_option_has_its_word_for_uv(line: str, variable: str, value: str) -> None:
    assert _as_pip(line)[variable] == value


def test_a_variable_wins_over_what_installing_is_told_and_that_over_what_holds_for_all() -> None:
    of_all, of_install, variable = "global.cert='all'", "install.cert='install'", ":env:.cert='variable'"
    assert _as_pip(variable, of_all, of_install)["SSL_CERT_FILE"] == "variable"
    assert _as_pip(of_install, of_all)["SSL_CERT_FILE"] == "install"


def test_what_is_said_of_other_commands_is_left_out() -> None:
    assert "UV_FIND_LINKS" not in _as_pip("wheel.find-links='/wheels'", "download.only-binary=':all:'")


@pytest.mark.parametrize("option", ["only-binary=':all:'", "no-index='true'", "keyring-provider='import'", "pre='1'"])
def test_what_uv_has_no_word_for_is_left_to_pip(option: str) -> None:
    assert uv.as_pip(f"global.{option}", {}) is None


def test_what_changes_only_how_pip_speaks_is_no_hindrance() -> None:
    assert _as_pip(":env:.disable-pip-version-check='1'", "global.quiet='2'") == _as_pip("")


def test_a_certificate_that_pips_http_library_goes_by_holds_where_pip_is_told_none() -> None:
    assert _as_pip(REQUESTS_CA_BUNDLE="/site.pem")["SSL_CERT_FILE"] == "/site.pem"
    assert _as_pip("global.cert='/pip.pem'", REQUESTS_CA_BUNDLE="/site.pem")["SSL_CERT_FILE"] == "/pip.pem"


def test_the_real_pip_prints_what_is_read_here(tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nextra-index-url =\n  https://a.example/it's\n  https://b.example\n")
    environment = {"PIP_CONFIG_FILE": str(configuration), "PIP_FIND_LINKS": "/here"}
    command = [sys.executable, "-m", "pip", "config", "list"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    said = uv.as_pip("\n".join(line for line in printed.splitlines() if "index" in line or ":env:" in line), {})
    assert said is not None
    assert (said["UV_INDEX"], said["UV_FIND_LINKS"]) == ("https://a.example/it's https://b.example", "/here")
