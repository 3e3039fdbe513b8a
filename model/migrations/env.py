"""Alembic's environment: uses the connection and transaction of `Database.migrate`."""

from alembic import context

from captionloop.model.database import SCHEMA_VERSION_TABLE, Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table=SCHEMA_VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
