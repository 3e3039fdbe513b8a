"""What is kept encrypted is read with the key it was written with, and with no other."""

import base64
import os
import stat
import threading
from pathlib import Path

import pytest

from captionloop.errors import LostKeyError, SettingsError
from captionloop.home import Home
from captionloop.seal import Seal
from captionloop.settings import Secret, Settings


def a_key() -> Secret:
    return Secret(base64.b64encode(os.urandom(32)).decode())


def opened(seal: Seal, kept: str) -> str:
    return seal.decrypt(kept, what="The token", lost="make another one.")


def test_a_secret_is_read_again_and_cannot_be_seen_in_what_is_kept(home: Home) -> None:
    kept = Seal(home).encrypt("tøken")
    assert opened(Seal(home), kept) == "tøken"
    assert "tøken" not in kept


def test_the_key_in_the_home_is_made_when_it_is_needed_and_for_its_owner_alone(home: Home) -> None:
    seal = Seal(home)
    assert not home.seal_keys.exists()
    seal.encrypt("token")
    assert stat.S_IMODE(home.seal_keys.stat().st_mode) == 0o600
    assert [path.name for path in home.root.iterdir()] == ["seal.keys"]  # nothing is left over


def test_with_a_key_of_the_environment_there_is_none_in_the_home(home: Home) -> None:
    key = a_key()
    kept = Seal(home, key).encrypt("token")
    assert opened(Seal(home, key), kept) == "token"
    assert not home.seal_keys.exists()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_keys_in_both_kinds_of_base64_will_do(home: Home, encode: object) -> None:
    raw = b"\xfb\xff" * 16  # has + and / in the one, - and _ in the other
    kept = Seal(home, Secret(base64.b64encode(raw).decode())).encrypt("token")
    assert opened(Seal(home, Secret(encode(raw).decode())), kept) == "token"  # type: ignore[operator]


def test_of_several_keys_the_first_encrypts_and_each_decrypts(home: Home) -> None:
    old, new = a_key(), a_key()
    before = Seal(home, old).encrypt("token")
    both = Seal(home, Secret(f"{new.reveal()},{old.reveal()}"))
    assert opened(both, before) == "token"
    assert opened(Seal(home, new), both.encrypt("token")) == "token"


def test_what_the_key_in_the_home_encrypted_is_read_beside_one_of_the_environment(home: Home) -> None:
    kept = Seal(home).encrypt("token")
    assert opened(Seal(home, a_key()), kept) == "token"


def test_what_an_earlier_release_kept_is_read_as_it_is(home: Home) -> None:
    assert opened(Seal(home), "plain token") == "plain token"


def test_with_another_key_it_is_said_what_is_encrypted_and_what_to_do(home: Home) -> None:
    kept = Seal(home, a_key()).encrypt("token")
    with pytest.raises(LostKeyError) as raised:
        opened(Seal(home, a_key()), kept)
    assert str(raised.value) == (
        "The token is encrypted, and no key that is known fits. Put the key with which it was written back into "
        f"CAPTIONLOOP_KEY or {home.seal_keys}. If it is lost for good: make another one."
    )


def test_with_no_key_it_is_said_and_none_is_made(home: Home) -> None:
    kept = Seal(home, a_key()).encrypt("token")
    with pytest.raises(LostKeyError, match="no key is known"):
        opened(Seal(home), kept)
    assert not home.seal_keys.exists()


def test_a_changed_secret_is_not_read(home: Home) -> None:
    kept = Seal(home).encrypt("token")
    with pytest.raises(LostKeyError):
        opened(Seal(home), kept[:-4] + "AAA=")


@pytest.mark.parametrize("key", ["too short", "ä" * 44, "A" * 44, base64.b64encode(b"x" * 31).decode(), ","])
def test_a_setting_that_is_no_key_is_said_to_be_none_and_not_repeated(home: Home, key: str) -> None:
    settings = Settings.read({"CAPTIONLOOP_KEY": key})
    with pytest.raises(SettingsError, match="CAPTIONLOOP_KEY has to hold 32 random bytes") as raised:
        Seal(home, settings.key)
    assert key == "," or key not in str(raised.value)


def test_a_damaged_file_of_keys_is_named(home: Home) -> None:
    home.seal_keys.write_bytes(b"\xff\x00")
    with pytest.raises(SettingsError, match=str(home.seal_keys)):
        Seal(home).encrypt("token")


def test_processes_that_start_at_once_get_the_same_key(home: Home) -> None:
    kept: list[str] = []
    barrier = threading.Barrier(8)

    def begin() -> None:
        seal = Seal(home)
        barrier.wait()
        kept.append(seal.encrypt("token"))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [opened(Seal(home), each) for each in kept] == ["token"] * 8


def test_what_follows_from_the_key_is_the_same_in_every_home_and_differs_by_key_and_purpose(tmp_path: Path) -> None:
    key, other = a_key(), a_key()
    both = Secret(f"{key.reveal()}, {other.reveal()}")

    here = Seal(Home(tmp_path / "here"), key).derived("x")

    assert here is not None
    assert len(here) == 32
    assert Seal(Home(tmp_path / "there"), both).derived("x") == here  # the first key encrypts, the others only decrypt
    assert here not in {Seal(Home(tmp_path), other).derived("x"), Seal(Home(tmp_path), key).derived("y")}
    assert Seal(Home(tmp_path)).derived("x") is None
