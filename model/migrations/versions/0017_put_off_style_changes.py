"""Changes of style that a project's people want to hear of later."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.add_column(sa.Column("style_changes_put_off", sa.JSON(), nullable=False, server_default="{}"))
