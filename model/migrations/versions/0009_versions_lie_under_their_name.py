"""A version is in the directory of its name below the home directory; no absolute path is stored."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("version") as table:
        table.drop_column("path")
