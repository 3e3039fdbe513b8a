"""`captionloop migrate`, and starting with `--no-migrate`, where one job migrates for all."""

from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.forked import forked_command
from tests.support.postgres import another_database

from captionloop.backend.cli import main
from captionloop.home import Home
from captionloop.model.database import SCHEMA_VERSION_TABLE, Database

_WITH_NO_MIGRATION = (("serve", "--no-migrate"), ("worker", "--no-migrate"))


def refusals(url: str, redis_url: str, log: Path) -> list[str]:
    """What each process says that ends for want of a migration; all end with "a service does not answer"."""
    said = []
    for command in _WITH_NO_MIGRATION:
        variables = {"CAPTIONLOOP_DATABASE_URL": url, "CAPTIONLOOP_HOME": str(log.parent), "REDIS_URL": redis_url}
        log.unlink(missing_ok=True)
        assert forked_command(*command, log=log, environment=variables).wait(120) == 3
        said.append(log.read_text())
    return said


@pytest.mark.slow
def test_who_does_not_migrate_ends_with_what_to_do_until_somebody_has(
    either_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_database(either_url, Home(tmp_path)) as url:
        for said in refusals(url, redis_url, tmp_path / "log"):
            assert "has no tables of ours" in said
            assert "Run `captionloop migrate`" in said
        monkeypatch.setenv("CAPTIONLOOP_DATABASE_URL", url)
        for _ in range(2):  # again does no harm
            with pytest.raises(SystemExit, match="0"):
                main(["migrate"])
        assert capsys.readouterr().out.count("has this release's schema.") == 2

        database = Database(url)
        database.require_migrated()
        with database.session() as session:
            session.execute(text(f"UPDATE {SCHEMA_VERSION_TABLE} SET version_num = '0001'"))
        database.close()
        for said in refusals(url, redis_url, tmp_path / "log"):
            assert "has schema 0001, and this release needs schema" in said
