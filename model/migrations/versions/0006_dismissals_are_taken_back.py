"""Dismissals that were taken back stay, marked."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The constraint was made without a name; this is what PostgreSQL calls it, and what SQLite is told to.
_NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}


def upgrade() -> None:
    with op.batch_alter_table("dismissal", naming_convention=_NAMES) as table:
        table.drop_constraint("dismissal_project_id_kind_subject_key", type_="unique")
        table.add_column(sa.Column("taken_back_by", sa.String(), nullable=True))
        table.add_column(sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True))
    standing = sa.text("taken_back_at IS NULL")
    op.create_index(
        "dismissal_one_standing",
        "dismissal",
        ["project_id", "kind", "subject"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
