"""Answers of ``/v1/responses`` that were to be stored, with the items that each of them was given.

A response that others go on from is part of their conversation: deleted, it is not found any more, but what was said
stays for them, and goes with the last of them. Its row has no ``response`` then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Integer, delete, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.connections import Connections
from app.store.paging import owned
from app.store.tables import responses

#: Turns of a conversation that are followed back. More would not fit a model's context.
CHAIN_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """
    Attributes:
        input_items: those of this response only.
        output_items: complete. They have the outputs of code even where the client did not ask for them: the model is
            to see them in the next response.
        response: the object as it was answered; empty if it was deleted and others go on from it.
    """

    id: str
    owner: str
    created_at: float
    model: str
    previous_response_id: str | None
    container_id: str | None
    input_items: list[dict[str, Any]]
    output_items: list[dict[str, Any]]
    response: dict[str, Any]


class Responses:
    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock

    async def add(
        self,
        id: str,
        *,
        owner: str,
        model: str,
        previous_response_id: str | None,
        container_id: str | None,
        input_items: list[dict[str, Any]],
        output_items: list[dict[str, Any]],
        response: dict[str, Any],
    ) -> StoredResponse:
        record = StoredResponse(
            id, owner, self._clock(), model, previous_response_id, container_id, input_items, output_items, response
        )
        async with self._connections.begin() as connection:
            await connection.execute(insert(responses).values(asdict(record)))
        return record

    async def get(self, id: str, *, owner: str) -> StoredResponse | None:
        async with self._connections.connect() as connection:
            row = (await connection.execute(owned(responses, owner).where(responses.c.id == id))).one_or_none()
        return StoredResponse(**row._mapping) if row and row.response else None

    async def chain(self, id: str, *, owner: str) -> list[StoredResponse]:
        """The conversation that ends with ``id``, its oldest response first. If it is longer than ``CHAIN_LIMIT``, only
        the latest ones. Empty if ``id`` was deleted or is unknown, or if an earlier response is missing."""
        mine = responses.c.owner == owner
        step = (
            select(responses.c.id, responses.c.previous_response_id, literal(0, Integer).label("depth"))
            .where(responses.c.id == id, mine)
            .cte("chain", recursive=True)
        )
        step = step.union_all(
            select(responses.c.id, responses.c.previous_response_id, step.c.depth + 1).where(
                responses.c.id == step.c.previous_response_id, mine, step.c.depth < CHAIN_LIMIT - 1
            )
        )
        query = select(responses).join(step, responses.c.id == step.c.id).order_by(step.c.depth.desc())
        async with self._connections.connect() as connection:
            rows = (await connection.execute(query)).all()
        chain = [StoredResponse(**row._mapping) for row in rows]
        if not chain or not chain[-1].response:
            return []
        is_whole = chain[0].previous_response_id is None or len(chain) >= CHAIN_LIMIT
        return chain if is_whole else []

    async def delete(self, id: str, *, owner: str) -> bool:
        """Whether there was one. Earlier ones that were deleted go with the last that went on from them."""
        async with self._connections.begin() as connection:
            row = (await connection.execute(owned(responses, owner).where(responses.c.id == id))).one_or_none()
            if row is None or not row.response:
                return False
            if await _is_continued(connection, id):
                await connection.execute(update(responses).where(responses.c.id == id).values(response={}))
                return True
            while row is not None:
                await connection.execute(delete(responses).where(responses.c.id == row.id))
                row = (
                    await connection.execute(owned(responses, owner).where(responses.c.id == row.previous_response_id))
                ).one_or_none()
                if row is not None and (row.response or await _is_continued(connection, row.id)):
                    break
        return True


async def _is_continued(connection: AsyncConnection, id: str) -> bool:
    query = select(responses.c.id).where(responses.c.previous_response_id == id).limit(1)
    return (await connection.execute(query)).first() is not None
