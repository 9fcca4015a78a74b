"""Figures and files that whoever has their link may fetch. Their contents are blobs named by the id.

A link is a secret: only its digest is kept, so that who reads the database learns none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert, select

from app.store.connections import Connections
from app.store.quota import Quota
from app.store.tables import shared


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """``session`` is where it was made, empty if that was thrown away; ``media_type`` what it is, as far as we say."""

    id: str
    digest: str
    owner: str
    created_at: float
    expires_at: float
    session: str
    name: str
    media_type: str
    bytes: int


class Shared:
    def __init__(self, connections: Connections, clock: Callable[[], float], quota: Quota) -> None:
        self._connections = connections
        self._quota = quota
        self._clock = clock

    def now(self) -> float:
        """Seconds since the epoch, by the clock that links expire by."""
        return self._clock()

    async def add(
        self, id: str, *, token: str, owner: str, session: str, name: str, media_type: str, bytes: int, ttl_s: float
    ) -> SharedRecord:
        """
        Raises:
            OverQuota: the owner may not keep so much.
        """
        now = self._clock()
        record = SharedRecord(id, _digest(token), owner, now, now + ttl_s, session, name, media_type, bytes)
        await self._quota.require(self._connections, owner, bytes)
        async with self._connections.begin() as connection:
            await connection.execute(insert(shared).values(asdict(record)))
        return record

    async def find(self, token: str) -> SharedRecord | None:
        """What a link leads to, while it lasts."""
        query = select(shared).where(shared.c.digest == _digest(token), shared.c.expires_at > self._clock())
        async with self._connections.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return SharedRecord(**row._mapping) if row else None

    async def revoke(self, *, owner: str, session: str) -> None:
        """Nothing that was made in this session is shared any more. Its contents go with what has expired."""
        async with self._connections.begin() as connection:
            await connection.execute(
                shared.update().where(shared.c.owner == owner, shared.c.session == session).values(expires_at=0)
            )

    async def revoke_link(self, token: str, *, owner: str) -> bool:
        """Whether there was one."""
        async with self._connections.begin() as connection:
            result = await connection.execute(
                shared.update()
                .where(shared.c.digest == _digest(token), shared.c.owner == owner, shared.c.expires_at > self._clock())
                .values(expires_at=0)
            )
        return result.rowcount > 0

    async def expired(self) -> Sequence[str]:
        """Ids whose contents can be removed, and then their rows (``forget``)."""
        query = select(shared.c.id).where(shared.c.expires_at <= self._clock()).limit(1000)
        async with self._connections.connect() as connection:
            return (await connection.execute(query)).scalars().all()

    async def forget(self, id: str) -> None:
        async with self._connections.begin() as connection:
            await connection.execute(delete(shared).where(shared.c.id == id, shared.c.expires_at <= self._clock()))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
