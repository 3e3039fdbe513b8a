"""A project's settings, and features of tasks' images for the annotation order."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("project") as table:
        table.add_column(sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("sampling_before", sa.String(), nullable=True))
    with op.batch_alter_table("project") as table:
        table.alter_column("settings", server_default=None)
    op.create_table(
        "task_features",
        sa.Column("project_id", sa.Integer(), sa.ForeignKey("project.id"), primary_key=True),
        sa.Column("task_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("encoder", sa.String(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("lanes", sa.Integer(), nullable=True),
        sa.Column("cluster", sa.Integer(), nullable=True),
    )
