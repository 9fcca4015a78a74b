"""Lists in the manner of OpenAI: in order of creation, continued after the id of the last item seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, Table, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RequestError

SortOrder = Literal["asc", "desc"]

#: Ends of pages that are remembered, of each table.
MAX_ENDS = 1000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is asked for."""

    limit: int = 20
    order: SortOrder = "desc"
    after: str | None = None


class Pages:
    """The lists of one table, whose rows have an owner. Where the last pages ended is remembered: clients that delete
    what they list go on after an item that is gone."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._ends: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Pages of {self._table.name}: {len(self._ends)} ends>"

    async def fetch(
        self, connection: AsyncConnection, query: Select[Any], page: PageRequest, *, owner: str
    ) -> tuple[Sequence[Any], bool]:
        """Rows of one page of ``query`` (all columns, already narrowed to the owner's), and whether more follow.

        Raises:
            RequestError: ``after`` is not in the list, and did not end a page.
        """
        table = self._table
        if page.after is not None:
            seen = (await connection.execute(query.where(table.c.id == page.after))).one_or_none()
            created_at = self._ends.get((owner, page.after)) if seen is None else seen.created_at
            if created_at is None:
                raise RequestError(f"No item with id '{page.after}' to continue after.", param="after")
            position, cursor = tuple_(table.c.created_at, table.c.id), tuple_(created_at, page.after)
            query = query.where(position > cursor if page.order == "asc" else position < cursor)
        columns = (table.c.created_at, table.c.id)
        query = query.order_by(*(columns if page.order == "asc" else (column.desc() for column in columns)))
        rows = (await connection.execute(query.limit(page.limit + 1))).all()
        if more := len(rows) > page.limit:
            rows = rows[: page.limit]
            self._remember(owner, rows[-1])
        return rows, more

    def _remember(self, owner: str, last: Any) -> None:
        self._ends[owner, last.id] = last.created_at
        self._ends.move_to_end((owner, last.id))
        if len(self._ends) > MAX_ENDS:
            self._ends.popitem(last=False)


def owned(table: Table, owner: str) -> Select[Any]:
    """All columns of the rows of ``owner``."""
    return select(table).where(table.c.owner == owner)
