"""`captionloop migrate`."""

import click

from captionloop.backend.commands.shared import running_settings
from captionloop.backend.terminal.output import print_line


@click.command()
def migrate() -> None:
    """Migrate the database to this release's schema, and do nothing else.

    `serve` and `worker` do that when they start, except with --no-migrate: where many of them start, one job migrates.

    \b
    Example:
        CAPTIONLOOP_DATABASE_URL=postgresql+psycopg://… captionloop migrate
    """
    from captionloop.home import Home
    from captionloop.model.database import Database

    settings = running_settings()
    home = Home(settings.home)
    if settings.database_url is None:
        home.create()
    database = Database(settings.database_url or f"sqlite:///{home.database}")
    try:
        database.migrate()
    finally:
        database.close()
    print_line(f"The database {database.shown_url} has this release's schema.")
