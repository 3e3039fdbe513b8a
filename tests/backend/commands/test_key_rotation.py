"""Key rotation: if interrupted anywhere, every secret can still be decrypted."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.models import add_project

from captionloop.backend.access.people import People, Person
from captionloop.backend.access.session_key import session_key_in_home
from captionloop.backend.cli import main
from captionloop.backend.commands.key_rotation import Rotated, rotate_key
from captionloop.backend.local import services
from captionloop.backend.projects import webhook_secret
from captionloop.errors import CaptionloopError, LostKeyError
from captionloop.home import Home
from captionloop.model.database import Database, PersonSession, Project
from captionloop.seal import Seal, is_sealed
from captionloop.settings import Secret, Settings

Secrets = tuple[str, str, bytes, list[str]]

# A storage change is the moment before it: there the process is killed, as by a power cut.
KILLED_AT_A_CHANGE = """
import os, signal, sys
left = int(sys.argv[1])
def look(event, _):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
from captionloop.backend.commands.key_rotation import rotate_key
from captionloop.model.database import Database
from captionloop.settings import Settings
settings = Settings.read()
database = Database(f"sqlite:///{settings.home}/captionloop.db")
sys.addaudithook(look)
rotate_key(settings, database)
"""
CHANGES = ["new key in front", "logins", "session key", "old keys forgotten"]


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def settings(home: Home) -> Settings:
    return Settings(home=home.root)


def fill(home: Home, database: Database, key: Secret | None = None) -> Secrets:
    """Secrets of every kind; what they are."""
    services.ensure_secrets(home, key=key)
    session_key_in_home(home, Seal(home, key))
    for number in (1, 2):
        project = add_project(database, number)
        with database.session() as session:
            row = session.get_one(Project, project.id)
            row.webhook_secret = webhook_secret.kept_or_new("", Seal(home, key))
    people = People(database, Seal(home, key), url="http://localhost:9")
    people.begin("a session", Person("ada@example.org", 1, {"token": "5" * 40}))
    return read(home, database, key)


def read(home: Home, database: Database, key: Secret | None = None) -> Secrets:
    login, password = services.login(home, key=key), services.backend_password(home, key=key)
    assert login is not None
    assert password is not None
    seal = Seal(home, key)
    with database.reading() as session:
        hooks = [webhook_secret.read(row.webhook_secret, seal) for row in session.scalars(select(Project))]
        hooks += [seal.decrypt(row.credential, what="", lost="") for row in session.scalars(select(PersonSession))]
    return login.token.reveal() + login.password.reveal(), password.reveal(), session_key_in_home(home, seal), hooks


def test_everything_is_encrypted_anew_and_is_what_it_was(settings: Settings, home: Home, database: Database) -> None:
    before, old = fill(home, database), home.seal_keys.read_text()
    rotated = rotate_key(settings, database)
    assert rotated == Rotated(logins=3, session_keys=1, webhooks=2, people=1)
    assert read(home, database) == before
    assert old.strip() not in home.seal_keys.read_text()


def test_the_old_key_opens_nothing_any_more(settings: Settings, home: Home, database: Database) -> None:
    fill(home, database)
    old = Secret(home.seal_keys.read_text().strip())
    rotate_key(settings, database)
    home.seal_keys.unlink()
    with pytest.raises(LostKeyError, match=r"secrets\.json is encrypted"):
        read(home, database, old)


def test_what_an_earlier_release_kept_in_the_clear_is_encrypted(
    settings: Settings, home: Home, database: Database
) -> None:
    account = {"email": "a@localhost", "password": "plain password", "token": "plain token"}
    home.secrets.write_text(
        json.dumps({"label_studio": account, "backend": {"user": "captionloop", "password": "plain password"}})
    )
    home.session_key.write_bytes(b"\x00plain session key\xff")
    add_project(database)
    before = read(home, database)

    rotate_key(settings, database)

    assert read(home, database) == before == (
        "plain tokenplain password", "plain password", b"\x00plain session key\xff", ["secret-1"],
    )  # fmt: skip
    assert b"plain" not in home.secrets.read_bytes() + home.session_key.read_bytes()
    with database.reading() as session:
        assert is_sealed(session.scalars(select(Project)).one().webhook_secret)


def test_from_a_key_in_the_home_to_one_of_the_environment(settings: Settings, home: Home, database: Database) -> None:
    before, key = fill(home, database), Secret(a_key())
    rotate_key(replace(settings, key=key), database)
    assert not home.seal_keys.exists()
    assert read(home, database, key) == before


def test_from_one_key_of_the_environment_to_another(settings: Settings, home: Home, database: Database) -> None:
    old, new = a_key(), a_key()
    before = fill(home, database, Secret(old))
    rotate_key(replace(settings, key=Secret(f"{new},{old}")), database)
    assert read(home, database, Secret(new)) == before


@pytest.mark.parametrize("lost", ["logins", "session key", "webhook"])
def test_where_one_key_is_lost_nothing_is_changed(
    settings: Settings, home: Home, database: Database, lost: str
) -> None:
    fill(home, database)
    foreign = Seal(home, Secret(a_key())).encrypt("secret")
    if lost == "logins":
        account = {"email": "a@localhost", "password": foreign, "token": foreign}
        home.secrets.write_text(json.dumps({"label_studio": account, "backend": {"user": "x", "password": foreign}}))
    elif lost == "session key":
        home.session_key.write_text(foreign)
    else:
        with database.session() as session:
            session.scalars(select(Project)).first().webhook_secret = foreign  # type: ignore[union-attr]
    before = {path.name: path.read_bytes() for path in (home.secrets, home.session_key, home.seal_keys)}

    with pytest.raises(LostKeyError, match="If it is lost for good: "):
        rotate_key(settings, database)

    assert {name: (home.root / name).read_bytes() for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("change", range(len(CHANGES)), ids=CHANGES)
def test_killed_at_any_change_everything_can_be_read_and_the_next_one_finishes(
    settings: Settings, home: Home, database: Database, change: int
) -> None:
    before, old = fill(home, database), home.seal_keys.read_text().strip()
    done = subprocess.run((sys.executable, "-c", KILLED_AT_A_CHANGE, str(change)), env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert read(home, database) == before
    rotate_key(settings, database)
    assert read(home, database) == before
    assert old not in home.seal_keys.read_text()


def test_rotations_at_once_leave_one_key(settings: Settings, home: Home, database: Database) -> None:
    before = fill(home, database)
    failures: list[CaptionloopError] = []

    def rotate() -> None:
        try:
            rotate_key(settings, database)
        except CaptionloopError as error:
            failures.append(error)

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert read(home, database) == before
    assert len(home.seal_keys.read_text().split()) == 1


def test_on_postgresql(settings: Settings, home: Home, postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        database.migrate()
        before = fill(home, database)
        rotate_key(settings, database)
        assert read(home, database) == before
    finally:
        database.close()


def test_the_command_says_how_many(home: Home, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, database)
    with pytest.raises(SystemExit):
        main(["key", "rotate"])
    assert capsys.readouterr().out == "7 secrets are encrypted with a new key.\n"


def test_a_command_that_needs_a_login_says_that_its_key_is_lost(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    services.ensure_secrets(home)
    home.seal_keys.unlink()
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"Put the key with which it was written back into CAPTIONLOOP_KEY or {home.seal_keys}" in said
    assert f"move {home.secrets} away" in said


def test_a_session_key_that_cannot_be_read_is_named_with_what_helps(home: Home) -> None:
    session_key_in_home(home, Seal(home))
    home.seal_keys.unlink()
    with pytest.raises(
        LostKeyError, match=r"session\.key is encrypted.* delete the file; everybody then has to sign in"
    ):
        session_key_in_home(home, Seal(home))


def test_starting_up_encrypts_what_an_earlier_release_kept(home: Home, tmp_path: Path) -> None:
    account = {"email": "a@localhost", "password": "plain password", "token": "plain token"}
    home.secrets.write_text(json.dumps({"label_studio": account, "backend": {"user": "x", "password": "plain"}}))
    login = services.ensure_secrets(home)
    assert (login.password.reveal(), login.token.reveal()) == ("plain password", "plain token")
    assert b"plain" not in home.secrets.read_bytes()
