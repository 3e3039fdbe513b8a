"""`captionloop key`: the encryption key of stored secrets."""

from dataclasses import asdict

import click

from captionloop.backend.commands.shared import json_option, print_result


@click.group("key")
def key_group() -> None:
    """The key that encrypts stored tokens, passwords and webhook secrets.

    \b
    Example:
        captionloop key rotate
    """


@key_group.command()
@json_option
def rotate(*, as_json: bool) -> None:
    """Encrypt everything with a new key, while everything runs, and delete the old one.

    With CAPTIONLOOP_KEY, put the new key first and the old one after a comma until this is done. Secrets that a release
    without encryption wrote are encrypted as well.

    \b
    Example:
        captionloop key rotate
        CAPTIONLOOP_KEY="$(openssl rand -base64 32),$CAPTIONLOOP_KEY" captionloop key rotate
    """
    from captionloop.backend.commands.key_rotation import rotate_key
    from captionloop.home import Home
    from captionloop.model.database import Database
    from captionloop.settings import Settings

    settings = Settings.read()
    home = Home(settings.home)
    home.create()
    database = Database(settings.database_url or f"sqlite:///{home.database}")
    try:
        database.migrate()
        rotated = rotate_key(settings, database)
    finally:
        database.close()
    where = "the first key in CAPTIONLOOP_KEY; the others can be taken out of it" if settings.key else "a new key"
    print_result(asdict(rotated), as_json, f"{rotated.total} secrets are encrypted with {where}.")
