"""Captions of other text boxes, each in a style of its box; the styles of before are of the box for captions."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "box_caption",
        sa.Column("correction_id", sa.Integer(), sa.ForeignKey("correction.id"), primary_key=True),
        sa.Column("box", sa.String(), primary_key=True),
        sa.Column("style_id", sa.Integer(), sa.ForeignKey("style.id"), nullable=False),
        sa.Column("captions", sa.JSON(), nullable=False),
        sa.Column("suggestion", sa.String(), nullable=True),
    )
    op.execute("UPDATE style SET control = NULL")
