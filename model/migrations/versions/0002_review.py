"""Review: reviewers' decisions, blind verdicts, dismissed problems, pinned and deleted versions."""

import sqlalchemy as sa
from alembic import op

from captionloop.model.migrations.texts_of_0002 import derived

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("project", sa.Column("shows_annotators", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("version", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("version", sa.Column("deleted_at", _MOMENT, nullable=True))
    for column in (
        sa.Column("words_changed", sa.Integer(), nullable=True),
        sa.Column("search_text", sa.String(), nullable=False, server_default=""),
        sa.Column("guess", sa.String(length=32), nullable=True),
        sa.Column("category", sa.String(length=32), nullable=True),
        sa.Column("left_out", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("note", sa.String(), nullable=False, server_default=""),
        sa.Column("reviewed_by", sa.String(), nullable=True),
        sa.Column("reviewed_at", _MOMENT, nullable=True),
    ):
        op.add_column("correction", column)
    op.create_index("correction_by_moment", "correction", ["project_id", "annotated_at"])
    op.create_index("correction_by_change", "correction", ["project_id", "words_changed"])
    op.create_table(
        "review_action",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("correction_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["correction_id"], ["correction.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_review_action_project_id", "review_action", ["project_id"])
    op.create_table(
        "choice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.String(), nullable=False),
        sa.Column("second", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("better", sa.String(length=32), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.ForeignKeyConstraint(["first"], ["version.name"]),
        sa.ForeignKeyConstraint(["second"], ["version.name"]),
        sa.ForeignKeyConstraint(["image_sha256"], ["image.sha256"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "first", "second", "image_sha256", "by"),
    )
    op.create_table(
        "dismissal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "kind", "subject"),
    )
    _fill_in()


def _fill_in() -> None:
    """Derive the columns of corrections that are there already."""
    correction = sa.table(
        "correction",
        sa.column("id", sa.Integer),
        sa.column("suggestion", sa.String),
        sa.column("captions", sa.JSON),
        sa.column("words_changed", sa.Integer),
        sa.column("search_text", sa.String),
        sa.column("guess", sa.String),
    )
    rows = op.get_bind().execute(sa.select(correction.c.id, correction.c.suggestion, correction.c.captions)).all()
    for number, suggestion, captions in rows:
        op.execute(correction.update().where(correction.c.id == number).values(**derived(suggestion, captions)))
