"""Code calls of mixed turns, kept until the client answers its own ones (PROTOCOL.md R10).

A turn with code calls and unknown calls shows the client only the latter. When it comes back with their results, the
code calls and theirs have to be put back, so that the upstream sees every call answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.store.connections import Connections
from app.store.tables import hidden_calls

#: Databases take some 32,000 values in one question, and a long conversation has more.
KEYS_AT_ONCE = 1000


class HiddenCalls:
    """Values under the ids of the calls that the client does see. Reading does not remove: clients resend."""

    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock

    async def put(self, keys: Sequence[str], value: Any, *, owner: str, ttl_s: float) -> None:
        """Keep ``value`` (JSON) under each of ``keys``; an older one is replaced."""
        expires_at = self._clock() + ttl_s
        unique = sorted(set(keys))  # in one order everywhere: two that write the same do not wait for each other
        rows = [{"owner": owner, "key": key, "value": value, "expires_at": expires_at} for key in unique]
        while rows:
            try:
                async with self._connections.begin() as connection:
                    await connection.execute(
                        delete(hidden_calls).where(hidden_calls.c.owner == owner, hidden_calls.c.key.in_(unique))
                    )
                    await connection.execute(insert(hidden_calls), rows)
            except IntegrityError:  # somebody else has put one of them in between: now it can be replaced
                continue
            return

    async def find(self, keys: Sequence[str], *, owner: str) -> dict[str, Any]:
        """What is kept under any of ``keys``."""
        found: dict[str, Any] = {}
        mine = (hidden_calls.c.owner == owner) & (hidden_calls.c.expires_at > self._clock())
        for first in range(0, len(keys), KEYS_AT_ONCE):
            some = hidden_calls.c.key.in_(keys[first : first + KEYS_AT_ONCE])
            async with self._connections.connect() as connection:
                rows = await connection.execute(select(hidden_calls.c.key, hidden_calls.c.value).where(mine, some))
                found |= {row.key: row.value for row in rows}
        return found

    async def purge(self) -> None:
        async with self._connections.begin() as connection:
            await connection.execute(delete(hidden_calls).where(hidden_calls.c.expires_at <= self._clock()))
