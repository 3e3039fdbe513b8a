"""Corrections that a reviewer sent back to their annotators, with what to change."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("correction") as table:
        table.add_column(sa.Column("sent_back", sa.String(), nullable=False, server_default=""))
