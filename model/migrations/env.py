"""How Alembic reaches the database: through the connection that `Database.migrate` holds, inside its transaction."""

from alembic import context

from captionloop.model.database import SCHEMA_VERSION_TABLE, Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table=SCHEMA_VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
