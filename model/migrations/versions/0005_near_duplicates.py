"""Fingerprints of images, and the image that each is split with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("image") as table:
        table.add_column(sa.Column("fingerprint", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("looks_like", sa.String(), nullable=True))
        table.add_column(sa.Column("split_with", sa.String(), nullable=True))
        table.create_foreign_key("image_looks_like", "image", ["looks_like"], ["sha256"])
        table.create_foreign_key("image_split_with", "image", ["split_with"], ["sha256"])
        table.create_index("ix_image_looks_like", ["looks_like"])
    # Versions may have been trained on these, so each keeps the side of the split that it had.
    op.execute("UPDATE image SET split_with = sha256")
