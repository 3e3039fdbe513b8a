"""`captionloop backup` and `captionloop restore`."""

from pathlib import Path

import click

from captionloop.backend.commands.shared import json_option, print_result
from captionloop.backend.terminal.output import print_line

_MEGABYTE = 1e6


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@json_option
def backup(*, file: Path, as_json: bool) -> None:
    """Write all data to FILE, while everything runs: database, images, versions, Label Studio's own data.

    Keys and passwords are not included (secrets.json, session.key, seal.keys); keep copies of those elsewhere.

    \b
    Example:
        captionloop backup /mnt/backups/captionloop-monday.tar
    """
    from captionloop.backend.local.services import complete
    from captionloop.home import Home
    from captionloop.model.backup.archive import make_backup
    from captionloop.model.database import Database
    from captionloop.settings import Settings

    settings = complete(Settings.read())
    home = Home(settings.home)
    database = Database(settings.database_url or f"sqlite:///{home.database}")
    try:
        made = make_backup(home, database, file.absolute())
    finally:
        database.close()
    for name in made.missing[:10]:
        print_line(f"Missing, and so not in the backup: {name}", err=True)
    shown = {"file": str(file), "files": len(made.files), "bytes": made.size_bytes, "missing": list(made.missing)}
    said = f"{file}: {len(made.files)} files, {made.size_bytes / _MEGABYTE:.1f} MB."
    print_result(shown, as_json, said + (f" {len(made.missing)} were missing." if made.missing else ""))


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@json_option
def restore(*, file: Path, as_json: bool) -> None:
    """Restore a backup into an empty home directory, after verifying every file of it.

    The database is restored to CAPTIONLOOP_DATABASE_URL, which must be empty as well, else into the home directory.

    \b
    Example:
        CAPTIONLOOP_HOME=~/restored captionloop restore /mnt/backups/captionloop-monday.tar
    """
    from captionloop.home import Home
    from captionloop.model.backup.archive import restore_backup
    from captionloop.model.database import Database
    from captionloop.settings import Settings

    settings = Settings.read()
    home = Home(settings.home)
    database = Database(settings.database_url or f"sqlite:///{home.database}")
    try:
        restored = restore_backup(file.absolute(), home, database)
    finally:
        database.close()
    shown = {
        "home": str(home.root),
        "files": len(restored.files),
        "created_at": restored.created_at.isoformat(),
        "missing": list(restored.missing),
    }
    said = (
        f"{home.root} is as it was on {restored.created_at:%Y-%m-%d at %H:%M} UTC. "
        "Keys are in no backup: put secrets.json, session.key and seal.keys of the old home there, or new ones are "
        "made."
    )
    print_result(shown, as_json, said)
