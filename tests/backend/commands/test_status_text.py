"""`captionloop status` names the Redis or Valkey server; `../local/test_up.py` tests the rest."""

from pathlib import Path

import pytest
from redis import Redis
from tests.support.servers import RedisServer

from captionloop.backend.commands.status_text import read_status, status_lines
from captionloop.backend.health.doctor import examine
from captionloop.backend.local import redis_server as server_module
from captionloop.backend.local import services
from captionloop.backend.local.processes import Process
from captionloop.home import Home
from captionloop.settings import Settings


def _settings(home: Home, **given: str) -> Settings:
    return services.complete(Settings.read({"CAPTIONLOOP_HOME": str(home.root), **given}))


def _redis_line(shown: dict[str, object]) -> str:
    (line,) = [line for line in status_lines(shown) if line.startswith("Redis:")]
    return line.removeprefix("Redis:").strip()


def test_the_embedded_server_is_named_with_its_version(home: Home, tmp_path: Path) -> None:
    settings = _settings(home)
    process = Process(server_module.program(home.redis_socket), log=tmp_path / "redis.log")
    process.start()
    try:
        server_module.wait_until_ready(settings.redis_url or "", meanwhile=process.require_running)
        shown = read_status(settings)
        (check,) = [check for check in examine(settings, within_s=10) if check.name == "Redis"]
    finally:
        process.stop()

    version = shown["redis_server"]["version"]
    assert shown["redis_server"] == {"name": "Valkey", "version": version, "embedded": True}
    assert int(version.partition(".")[0]) >= 9
    assert _redis_line(shown) == f"Valkey {version}, embedded"
    assert check.message == f"the embedded Valkey {version} answers at unix://{home.redis_socket}"


def test_a_redis_server_of_ones_own_is_named_with_its_version(home: Home, own_redis_server: RedisServer) -> None:
    settings = _settings(home, REDIS_URL=own_redis_server.test_url)
    with Redis.from_url(own_redis_server.url) as client:
        version = client.info("server")["redis_version"]

    shown = read_status(settings)
    (check,) = [check for check in examine(settings, within_s=10) if check.name == "Redis"]

    assert shown["redis_server"] == {"name": "Redis", "version": version, "embedded": False}
    assert _redis_line(shown) == f"Redis {version}, at {own_redis_server.test_url}"
    assert check.message == f"Redis {version} answers at {own_redis_server.test_url}"


def test_a_valkey_of_ones_own_is_not_the_embedded_one(home: Home, redis_url: str) -> None:
    shown = read_status(_settings(home, REDIS_URL=redis_url))
    assert shown["redis_server"]["name"] == "Valkey"
    assert shown["redis_server"]["embedded"] is False


@pytest.mark.parametrize("url", ["redis://localhost:1/0", None])
def test_of_a_server_that_does_not_answer_nothing_is_claimed(home: Home, url: str | None) -> None:
    shown = read_status(_settings(home, **({} if url is None else {"REDIS_URL": url})))
    assert shown["redis_server"] is None
    assert _redis_line(shown) == f"does not answer at {url or f'unix://{home.redis_socket}'}"
