"""Corrections are searched without accents: their texts in the form in which they are searched."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from captionloop.model.migrations.texts_of_0014 import search_form

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ROWS = 1000  # in memory at a time
_CORRECTION = sa.table(
    "correction",
    sa.column("id", sa.Integer),
    sa.column("suggestion", sa.String),
    sa.column("captions", sa.JSON),
    sa.column("search_text", sa.String),
)


def upgrade() -> None:
    connection, last = op.get_bind(), 0
    write = (
        _CORRECTION.update().where(_CORRECTION.c.id == sa.bindparam("number")).values(search_text=sa.bindparam("form"))
    )
    while rows := connection.execute(_after(last)).all():
        forms = [
            {"number": number, "form": search_form("\n".join([suggestion or "", *captions]))}
            for number, suggestion, captions in rows
        ]
        connection.execute(write, forms)
        last = rows[-1][0]


def _after(last: int) -> sa.Select[Any]:
    columns = (_CORRECTION.c.id, _CORRECTION.c.suggestion, _CORRECTION.c.captions)
    return sa.select(*columns).where(_CORRECTION.c.id > last).order_by(_CORRECTION.c.id).limit(_ROWS)
