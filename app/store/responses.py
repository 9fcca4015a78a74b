"""Answers of ``/v1/responses`` that were to be stored, with the items that each of them was given.

A response that others go on from is part of their conversation: deleted, it is not found any more, but what was said
stays for them, and goes with the last of them. Its row has no ``response`` then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Text, cast, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RequestError
from app.store.connections import Connections
from app.store.item_parts import Item, decode, divide, encode
from app.store.paging import PageRequest
from app.store.quota import Quota
from app.store.tables import response_items, responses

#: Turns of a conversation that are followed back. More would not fit a model's context.
CHAIN_LIMIT = 1000
#: Bytes of items that one request may have read: as much as it may send itself.
READ_LIMIT = 32 * 1024 * 1024

ItemKind = Literal["input", "output"]

#: The object of a response that was deleted and that others go on from.
_DELETED = "{}"
#: As it stands in the database, not parsed.
_document = cast(responses.c.response, Text).label("document")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """``document`` is the object as it was answered, as JSON."""

    id: str
    document: str


@dataclass(frozen=True, slots=True)
class ChainedResponse:
    """
    Attributes:
        input_items: those of this response only.
        output_items: complete, with the outputs of code even where the client did not ask for them: the next turn's
            model is to see them.
    """

    id: str
    previous_response_id: str | None
    container_id: str | None
    input_items: list[Item]
    output_items: list[Item]


class Responses:
    def __init__(self, connections: Connections, clock: Callable[[], float], quota: Quota) -> None:
        self._connections = connections
        self._quota = quota
        self._clock = clock

    async def add(
        self,
        id: str,
        *,
        owner: str,
        model: str,
        previous_response_id: str | None,
        container_id: str | None,
        input_items: Sequence[Item],
        output_items: Sequence[Item],
        response: dict[str, Any],
    ) -> None:
        """
        Raises:
            OverQuota: the owner may not keep so much.
        """
        kinds = (("input", input_items), ("output", output_items))
        rows: list[dict[str, Any]] = [
            {
                "response_id": id,
                "kind": kind,
                "first": part.first,
                "count": part.count,
                "size": len(part.text),
                "content": part.text,
            }
            for kind, items in kinds
            for part in await divide(items)
        ]
        await self._quota.require(self._connections, owner, sum(len(row["content"]) for row in rows))
        async with self._connections.begin() as connection:
            await connection.execute(
                insert(responses).values(
                    id=id,
                    owner=owner,
                    created_at=self._clock(),
                    model=model,
                    previous_response_id=previous_response_id,
                    container_id=container_id,
                    response=response,
                )
            )
            if rows:
                await connection.execute(insert(response_items), rows)

    async def get(self, id: str, *, owner: str) -> StoredResponse | None:
        query = select(responses.c.id, _document).where(_is(id, owner), _document != _DELETED)
        async with self._connections.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return StoredResponse(row.id, row.document) if row else None

    async def exists(self, id: str, *, owner: str) -> bool:
        query = select(responses.c.id).where(_is(id, owner), _document != _DELETED)
        async with self._connections.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def output_items(self, ids: Sequence[str], *, owner: str) -> list[Item]:
        """Of all responses of ``ids`` that are there.

        Raises:
            RequestError: they are more than ``READ_LIMIT``.
        """
        query = select(responses.c.id).where(responses.c.id.in_(ids), responses.c.owner == owner, _document != _DELETED)
        async with self._connections.connect() as connection:
            found = list(await connection.scalars(query))
            items = await _read(connection, found, kinds=("output",))
        return [item for id in found for item in items[id, "output"]]

    async def input_items(
        self, id: str, page: PageRequest, *, after: int | str | None
    ) -> tuple[list[tuple[int, Item]], bool]:
        """One page of what a response was given, each item with its position; and whether more follow. It continues
        ``after`` a position, or an item's own id; that of ``page`` is not looked at.

        Only the parts that the page is in are parsed.

        Raises:
            RequestError: there is no item to continue after.
        """
        async with self._connections.connect() as connection:
            if after is not None and (after := await _position(connection, id, after)) is None:
                raise RequestError(f"No item with id '{page.after}' to continue after.", param="after")
            ascending = page.order == "asc"
            query = _parts(id).order_by(response_items.c.first if ascending else response_items.c.first.desc())
            if after is not None:
                beyond = response_items.c.first + response_items.c.count - 1 > after
                query = query.where(beyond if ascending else response_items.c.first < after)
            found: list[tuple[int, Item]] = []
            while len(found) <= page.limit and (part := (await connection.execute(query.limit(1))).first()):
                numbered = list(enumerate(decode(part.content), part.first))
                for position, item in numbered if ascending else reversed(numbered):
                    if after is None or (position > after if ascending else position < after):
                        found.append((position, item))
                last = part.first
                query = query.where(response_items.c.first > last if ascending else response_items.c.first < last)
        return found[: page.limit], len(found) > page.limit

    async def chain(self, id: str, *, owner: str) -> list[ChainedResponse]:
        """The conversation that ends with ``id``, oldest turn first; only its latest turns where it is longer than
        ``CHAIN_LIMIT``. Empty if ``id`` was deleted or is unknown, or if an earlier turn is missing.

        Raises:
            RequestError: its items are more than ``READ_LIMIT``.
        """
        mine = responses.c.owner == owner
        step = (
            select(responses.c.id, responses.c.previous_response_id, literal(0, Integer).label("depth"))
            .where(responses.c.id == id, mine, _document != _DELETED)
            .cte("chain", recursive=True)
        )
        step = step.union_all(
            select(responses.c.id, responses.c.previous_response_id, step.c.depth + 1).where(
                responses.c.id == step.c.previous_response_id, mine, step.c.depth < CHAIN_LIMIT - 1
            )
        )
        query = (
            select(responses.c.id, responses.c.previous_response_id, responses.c.container_id)
            .join(step, responses.c.id == step.c.id)
            .order_by(step.c.depth.desc())
        )
        async with self._connections.connect() as connection:
            rows = (await connection.execute(query)).all()
            is_whole = bool(rows) and (rows[0].previous_response_id is None or len(rows) >= CHAIN_LIMIT)
            if not is_whole:
                return []
            items = await _read(connection, list({row.id for row in rows}), kinds=("input", "output"))
        return [
            ChainedResponse(
                row.id, row.previous_response_id, row.container_id, items[row.id, "input"], items[row.id, "output"]
            )
            for row in rows
        ]

    async def delete(self, id: str, *, owner: str) -> bool:
        """Whether there was one. Earlier ones that were deleted go with the last that went on from them."""
        columns = select(responses.c.id, responses.c.previous_response_id, (_document == _DELETED).label("was_deleted"))
        async with self._connections.begin() as connection:
            row = (await connection.execute(columns.where(_is(id, owner)))).one_or_none()
            if row is None or row.was_deleted:
                return False
            if await _is_continued(connection, id):
                await connection.execute(update(responses).where(responses.c.id == id).values(response={}))
                return True
            while row is not None:
                await connection.execute(delete(response_items).where(response_items.c.response_id == row.id))
                await connection.execute(delete(responses).where(responses.c.id == row.id))
                row = (await connection.execute(columns.where(_is(row.previous_response_id, owner)))).one_or_none()
                if row is not None and (not row.was_deleted or await _is_continued(connection, row.id)):
                    break
        return True


def _is(id: str | None, owner: str) -> ColumnElement[bool]:
    return (responses.c.id == id) & (responses.c.owner == owner)


def _parts(id: str) -> Any:
    return select(response_items).where(response_items.c.response_id == id, response_items.c.kind == "input")


async def _position(connection: AsyncConnection, id: str, item: int | str) -> int | None:
    """Of an item of the input: its position, if there is one, or where that of this id is."""
    if isinstance(item, int):
        first, count = response_items.c.first, response_items.c.count
        holding = await connection.execute(_parts(id).where(first <= item, first + count > item))
        return item if holding.first() is not None else None
    named = response_items.c.content.contains(f'"id":{encode(item)}', autoescape=True)
    query = _parts(id).where(named).order_by(response_items.c.first)
    async with connection.stream(query.execution_options(yield_per=1)) as parts:
        async for part in parts:
            for position, found in enumerate(decode(part.content), part.first):
                if found.get("id") == item:
                    return position
    return None


async def _read(
    connection: AsyncConnection, ids: Sequence[str], *, kinds: Sequence[ItemKind]
) -> dict[tuple[str, str], list[Item]]:
    """Items by response and kind. They are parsed part by part, as they come.

    Raises:
        RequestError: they are more than ``READ_LIMIT``.
    """
    mine = response_items.c.response_id.in_(ids) & response_items.c.kind.in_(kinds)
    size = await connection.scalar(select(func.sum(response_items.c.size)).where(mine)) or 0
    if size > READ_LIMIT:
        raise RequestError(
            f"The conversation before this request is longer than {READ_LIMIT} bytes.",
            param="previous_response_id",
            code="context_length_exceeded",
        )
    items: dict[tuple[str, str], list[Item]] = {(id, kind): [] for id in ids for kind in kinds}
    query = select(response_items).where(mine).order_by(response_items.c.first)
    async with connection.stream(query.execution_options(yield_per=4)) as parts:
        async for part in parts:
            items[part.response_id, part.kind] += decode(part.content)
    return items


async def _is_continued(connection: AsyncConnection, id: str) -> bool:
    query = select(responses.c.id).where(responses.c.previous_response_id == id).limit(1)
    return (await connection.execute(query)).first() is not None
