"""What became of requests that carried an ``Idempotency-Key``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, insert, update
from sqlalchemy.exc import IntegrityError

from app.store.connections import Connections
from app.store.instances import is_live
from app.store.paging import owned
from app.store.tables import idempotency


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """
    Attributes:
        fingerprint: of the request; another request may not use the key.
        state: ``running``; ``answered``, with the answer; ``spent``: it ran, and there is no answer to give again.
    """

    fingerprint: str
    state: Literal["running", "answered", "spent"]
    status: int | None
    body: bytes | None


class IdempotencyKeys:
    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock

    async def claim(self, key: str, *, owner: str, instance: str, fingerprint: str, ttl_s: float) -> KeyRecord | None:
        """Take the key for a request that begins now, in ``instance``. None if it was free, else what is known of it.

        The row's insertion decides between two requests at once, in whatever process they are.
        """
        now = self._clock()
        values = {"instance": instance, "fingerprint": fingerprint, "state": "running", "expires_at": now + ttl_s}
        while True:
            try:
                async with self._connections.begin() as connection:
                    await connection.execute(
                        delete(idempotency).where(_is(key, owner), idempotency.c.expires_at <= now)
                    )
                    await connection.execute(insert(idempotency).values(owner=owner, key=key, **values))
            except IntegrityError:
                async with self._connections.connect() as connection:
                    query = owned(idempotency, owner).where(idempotency.c.key == key)
                    live = is_live(idempotency.c.instance, now).label("live")
                    row = (await connection.execute(query.add_columns(live))).one_or_none()
                if row is not None:  # else it was released in between: try again
                    if row.state == "running" and not row.live:  # nobody knows how far it came
                        return KeyRecord(row.fingerprint, "spent", None, None)
                    return KeyRecord(row.fingerprint, row.state, row.status, row.body)
            else:
                return None

    async def answer(self, key: str, *, owner: str, status: int, body: bytes) -> None:
        """The request is over, and this is what a repetition is to be told."""
        await self._finish(key, owner, state="answered", status=status, body=body)

    async def spend(self, key: str, *, owner: str) -> None:
        """The request is over; a repetition can be told nothing, and must not run again."""
        await self._finish(key, owner, state="spent")

    async def release(self, key: str, *, owner: str) -> None:
        """The request came to nothing: a repetition may run."""
        async with self._connections.begin() as connection:
            await connection.execute(delete(idempotency).where(_is(key, owner)))

    async def purge(self) -> None:
        async with self._connections.begin() as connection:
            await connection.execute(delete(idempotency).where(idempotency.c.expires_at <= self._clock()))

    async def _finish(self, key: str, owner: str, **values: Any) -> None:
        async with self._connections.begin() as connection:
            await connection.execute(update(idempotency).where(_is(key, owner)).values(**values))


def _is(key: str, owner: str) -> ColumnElement[bool]:
    return (idempotency.c.owner == owner) & (idempotency.c.key == key)
