"""Lists in the manner of OpenAI: in order of creation, continued after the id of the last item seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, Table, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RequestError

Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is asked for."""

    limit: int = 20
    order: Order = "desc"
    after: str | None = None


async def fetch_page(
    connection: AsyncConnection, table: Table, query: Select[Any], page: PageRequest
) -> tuple[Sequence[Any], bool]:
    """Rows of one page of ``query`` (all columns of ``table``, already narrowed to the owner's), and whether more
    follow.

    Raises:
        RequestError: ``after`` is not in the list.
    """
    position = tuple_(table.c.created_at, table.c.id)
    if page.after is not None:
        seen = (await connection.execute(query.where(table.c.id == page.after))).one_or_none()
        if seen is None:
            raise RequestError(f"No item with id '{page.after}' to continue after.", param="after")
        cursor = tuple_(seen.created_at, seen.id)
        query = query.where(position > cursor if page.order == "asc" else position < cursor)
    columns = (table.c.created_at, table.c.id)
    query = query.order_by(*(columns if page.order == "asc" else (column.desc() for column in columns)))
    rows = (await connection.execute(query.limit(page.limit + 1))).all()
    return rows[: page.limit], len(rows) > page.limit


def owned(table: Table, owner: str) -> Select[Any]:
    """All columns of the rows of ``owner``."""
    return select(table).where(table.c.owner == owner)
