import os
import stat
from pathlib import Path

import pytest
from redis import Redis
from tests.support.servers import RedisServer

from captionloop.backend.local import redis_server
from captionloop.errors import ServiceError


def test_it_is_a_real_redis_on_a_private_socket(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        assert client.info("server")["tcp_port"] == 0
        assert client.config_get("save") == {"save": ""}
    assert stat.S_IMODE(redis_server.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(redis_server.socket.stat().st_mode) == 0o700


def test_each_test_finds_its_database_empty(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_and_what_one_left_is_gone_for_the_next(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_where_there_is_no_server_nothing_answers(tmp_path: Path) -> None:
    assert not redis_server.answers(f"unix://{tmp_path}/no.sock")


def test_without_any_redis_server_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"install one .* or set REDIS_URL"):
        redis_server.find_binary()


def test_one_on_the_path_is_used_where_none_is_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server.find_binary() == binary


def test_a_socket_directory_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    with pytest.raises(ServiceError, match="belongs to another user"):
        redis_server.program(tmp_path / "redis.sock")
