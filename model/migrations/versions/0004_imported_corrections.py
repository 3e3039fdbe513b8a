"""Corrections that were imported: no annotation and no task, but a key of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("correction") as table:
        table.alter_column("annotation_id", existing_type=sa.Integer(), nullable=True)
        table.alter_column("task_id", existing_type=sa.Integer(), nullable=True)
        table.add_column(sa.Column("import_key", sa.String(), nullable=True))
        table.add_column(sa.Column("imported_from", sa.String(), nullable=True))
        table.create_unique_constraint("correction_by_import_key", ["project_id", "import_key"])
        table.create_check_constraint(
            "correction_is_annotated_or_imported", "(annotation_id IS NULL) = (import_key IS NOT NULL)"
        )
