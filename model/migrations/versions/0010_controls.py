"""The text box of a project, and of each correction."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.add_column(sa.Column("control", sa.String(), nullable=True))
        table.add_column(sa.Column("control_history", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("synced_by", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("project") as table:
        table.alter_column("control_history", server_default=None)
        table.alter_column("synced_by", server_default=None)
    op.add_column("correction", sa.Column("control", sa.String(), nullable=True))
    op.add_column("correction_revision", sa.Column("control", sa.String(), nullable=True))
