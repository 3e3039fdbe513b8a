"""Which attempt at a run may write about it, and whether a sync wrote while another one read."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("fence", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE run SET fence = attempts")
    op.add_column("project", sa.Column("sync_writes", sa.Integer(), nullable=False, server_default="0"))
