"""Whether a correction's task was a random pick."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("correction") as table:
        table.add_column(sa.Column("asked_at_random", sa.Boolean(), nullable=True))
