"""The Dockerfile and the compose file agree with the code. (`make image` builds the image and tries it.)"""

import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from captionloop.backend.cli import cli
from captionloop.settings import LABEL_STUDIO_VERSION, Settings

_ROOT = Path(__file__).parent.parent
_VARIABLES = {item.metadata["variable"]: item for item in fields(Settings)}
_DOCKERFILE = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
_LOCK = (_ROOT / "requirements.lock").read_text(encoding="utf-8")
_CPU_LOCK = (_ROOT / "requirements-cpu.lock").read_text(encoding="utf-8")
_COMPOSE_TEXT = (_ROOT / "compose.yaml").read_text(encoding="utf-8")
_COMPOSE: dict[str, Any] = yaml.safe_load(_COMPOSE_TEXT)
_EXAMPLE = dict(
    line.split("=", 1)
    for line in (_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
_FILLED = {name: value or "0123456789" * 4 for name, value in _EXAMPLE.items()}


def _substituted(value: str) -> str:
    """What compose makes of `${NAME:-default}` and `${NAME:?message}` with the example file filled in."""

    def replace(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        return _FILLED.get(name) or (rest if operator == ":-" else "")

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", replace, value)


def _environment(service: str) -> dict[str, str]:
    return {name: _substituted(value) for name, value in _COMPOSE["services"][service]["environment"].items()}


@pytest.mark.parametrize("service", ["backend", "worker"])
def test_our_services_get_settings_that_can_be_read(service: str) -> None:
    environment = _environment(service)
    assert set(environment) <= set(_VARIABLES)
    settings = Settings.read(environment)
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.label_studio_url == "http://label-studio:8080"
    assert settings.password is not None


@pytest.mark.parametrize("service", ["backend", "worker"])
def test_our_services_run_commands_that_exist(service: str) -> None:
    assert _COMPOSE["services"][service]["command"][0] in cli.commands


def test_the_default_command_of_the_image_exists() -> None:
    assert re.search(r'^ENTRYPOINT \["captionloop"\]$', _DOCKERFILE, re.MULTILINE)
    default = re.search(r'^CMD \["(\w+)"\]$', _DOCKERFILE, re.MULTILINE)
    assert default is not None
    assert default.group(1) in cli.commands


def test_label_studio_finds_the_backend_where_it_listens() -> None:
    port = _VARIABLES["CAPTIONLOOP_PORT"].default
    assert _environment("backend")["CAPTIONLOOP_URL"] == f"http://backend:{port}"
    assert f"EXPOSE {port}\n" in _DOCKERFILE
    assert f"CAPTIONLOOP_PORT={port}" in _DOCKERFILE


def test_label_studio_is_the_version_that_everything_is_written_for() -> None:
    assert _COMPOSE["services"]["label-studio"]["image"] == f"heartexlabs/label-studio:{LABEL_STUDIO_VERSION}"


@pytest.mark.parametrize(
    "name",
    ["LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN", "ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED", "COLLECT_ANALYTICS"],
)
def test_label_studio_is_set_as_the_one_that_up_starts(name: str) -> None:
    from captionloop.backend.local.label_studio_server import _ENVIRONMENT

    assert _COMPOSE["services"]["label-studio"]["environment"][name] == _ENVIRONMENT[name]


def test_the_token_that_label_studio_is_given_is_the_one_that_we_use() -> None:
    label_studio, backend = _environment("label-studio"), _environment("backend")
    assert label_studio["LABEL_STUDIO_USER_TOKEN"] == backend["LABEL_STUDIO_API_KEY"]


def test_every_service_has_a_health_check_or_that_of_the_image() -> None:
    without = {name for name, service in _COMPOSE["services"].items() if "healthcheck" not in service}
    assert without == {"backend"}
    assert "/health'" in re.search(r"^HEALTHCHECK.*$", _DOCKERFILE, re.MULTILINE).group()  # type: ignore[union-attr]


def test_services_wait_for_services_that_exist() -> None:
    for service in _COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(_COMPOSE["services"])


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in _COMPOSE["services"].values() for volume in service.get("volumes", ())}
    assert used == set(_COMPOSE["volumes"])


def test_the_example_holds_every_variable_that_has_no_default() -> None:
    needed = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", _COMPOSE_TEXT))
    assert needed <= set(_EXAMPLE)


def test_the_example_can_be_read_as_settings() -> None:
    """`captionloop` reads the same file when it is run in the checkout."""
    assert Settings.read(_FILLED)


def test_the_image_sets_only_variables_that_are_known() -> None:
    assert set(re.findall(r"CAPTIONLOOP_[A-Z_]+", _DOCKERFILE)) <= set(_VARIABLES)


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\w+)$", _DOCKERFILE, re.MULTILINE)
    assert users[-1:] == ["captionloop"]


@pytest.mark.parametrize("service", ["backend", "worker", "redis"])
def test_services_have_nothing_that_they_do_not_need(service: str) -> None:
    facts = _COMPOSE["services"][service]
    assert facts["read_only"] is True
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert not facts.keys() & {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "ports"}


@pytest.mark.parametrize("service", ["backend", "worker"])
def test_ours_write_to_their_volume_and_a_temporary_directory_alone(service: str) -> None:
    """tests/test_read_only.py shows that this will do."""
    facts = _COMPOSE["services"][service]
    assert facts["tmpfs"] == ["/tmp"]
    assert facts["volumes"] == ["captionloop:/data"]
    assert "CAPTIONLOOP_HOME=/data" in _DOCKERFILE


def test_no_service_gets_a_directory_of_the_machine() -> None:
    volumes = [volume for service in _COMPOSE["services"].values() for volume in service.get("volumes", ())]
    assert all(re.match(r"[a-z-]+:", volume) for volume in volumes)


def test_nobody_beyond_this_machine_reaches_a_port() -> None:
    ports = [port for service in _COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_is_in_the_image() -> None:
    """Neither set while it is built nor copied into it."""
    secrets = {name for name, item in _VARIABLES.items() if re.search(r"PASSWORD|KEY|_URL$", name)}
    assert secrets
    assert not {name for name in secrets if re.search(rf"{name}[= ]\S", _DOCKERFILE.partition("\nFROM ")[2])}


def test_the_small_pytorch_has_the_version_of_the_lock() -> None:
    """Its wheels are others than the package index's, so their hashes stand in a file of their own."""
    (pin,) = re.findall(r"^torch==(\S+)", _LOCK, re.MULTILINE)
    assert re.match(rf"torch=={re.escape(pin)}\+cpu \\\n( +--hash=sha256:[0-9a-f]{{64}}( \\)?\n)+\Z", _CPU_LOCK)


@pytest.mark.parametrize("name", ["torch", "setuptools"])
def test_the_image_finds_in_the_lock_what_it_picks_out(name: str) -> None:
    assert f"{name}==" in _DOCKERFILE or rf"\({name}\|" in _DOCKERFILE
    assert re.search(rf"^{name}==\S+ \\\n +--hash", _LOCK, re.MULTILINE)


def test_everything_in_the_image_is_checked_by_its_hash() -> None:
    """But for what installs it, and our own wheel, made in the build."""
    installs = re.findall(r"pip install (.*?)(?: &&|\n\n)", _DOCKERFILE.replace("\\\n", ""), re.DOTALL)
    unchecked = [line for line in installs if "--require-hashes" not in line]
    assert [line.split()[-1] for line in unchecked] == ["'uv>=0.8'", "/wheel/*.whl"]


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    kept = [
        line[1:] for line in (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    ]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", _DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (_ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in kept)
