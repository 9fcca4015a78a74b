"""Items of stored responses in parts of bounded size, so that one of them can be read without the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from alembic import op
from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text, insert, select

revision = "0004"
down_revision = "0003"

_PART_ITEMS = 100

_metadata = MetaData()
_responses = Table(
    "eager_responses",
    _metadata,
    Column("id", String(128), primary_key=True),
    Column("input_items", JSON, nullable=False),
    Column("output_items", JSON, nullable=False),
)


def upgrade() -> None:
    parts = op.create_table(
        "eager_response_items",
        Column("response_id", String(128), primary_key=True),
        Column("kind", String(6), primary_key=True),
        Column("first", Integer, primary_key=True, autoincrement=False),
        Column("count", Integer, nullable=False),
        Column("size", Integer, nullable=False),
        Column("content", Text, nullable=False),
    )
    connection = op.get_bind()
    for id in connection.scalars(select(_responses.c.id)).all():
        row = connection.execute(select(_responses).where(_responses.c.id == id)).one()
        rows = [*_parts(id, "input", row.input_items), *_parts(id, "output", row.output_items)]
        if rows:
            connection.execute(insert(parts), rows)
    with op.batch_alter_table("eager_responses") as responses:
        responses.drop_column("input_items")
        responses.drop_column("output_items")


def _parts(id: str, kind: str, items: list[Any]) -> Iterator[dict[str, Any]]:
    for first in range(0, len(items), _PART_ITEMS):
        part = items[first : first + _PART_ITEMS]
        text = json.dumps(part, separators=(",", ":"))
        yield {
            "response_id": id,
            "kind": kind,
            "first": first,
            "count": len(part),
            "size": len(text),
            "content": text,
        }
