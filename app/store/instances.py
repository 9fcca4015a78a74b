"""Which gateways share the database and are alive, and where each session lives.

A gateway is an instance: an id of chance, and a row that says until when it is alive. What belongs to an instance that
is not alive belongs to nobody. Clocks of hosts that share a database have to agree to within a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.store.connections import Connections
from app.store.paging import owned
from app.store.tables import instances, sessions

#: Rows of instances that have been dead for so long are removed. Until then one that was only suspended finds its own.
FORGOTTEN_AFTER_S = 24 * 3600
#: Sessions of one owner that are told about.
LIST_LIMIT = 1000


def is_live(instance: ColumnElement[str], now: float) -> ColumnElement[bool]:
    """Whether the instance that a column names is alive."""
    return exists().where(instances.c.id == instance, instances.c.alive_until > now)


class Instances:
    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock

    async def beat(self, id: str, *, lease_s: float) -> None:
        """The instance is alive, for ``lease_s`` from now on."""
        alive_until = self._clock() + lease_s
        async with self._connections.begin() as connection:
            result = await connection.execute(
                update(instances).where(instances.c.id == id).values(alive_until=alive_until)
            )
            if result.rowcount == 0:
                await connection.execute(insert(instances).values(id=id, alive_until=alive_until))

    async def leave(self, id: str) -> None:
        """The instance ends, and its sessions have."""
        async with self._connections.begin() as connection:
            await connection.execute(delete(sessions).where(sessions.c.instance == id))
            await connection.execute(delete(instances).where(instances.c.id == id))

    async def purge(self) -> None:
        async with self._connections.begin() as connection:
            forgotten = instances.c.alive_until <= self._clock() - FORGOTTEN_AFTER_S
            await connection.execute(delete(instances).where(forgotten))
            await connection.execute(delete(sessions).where(~exists().where(instances.c.id == sessions.c.instance)))


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Where a session lives. ``instance`` is alive."""

    id: str
    owner: str
    instance: str
    created_at: float
    idle_s: float


class Sessions:
    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock

    async def claim(self, id: str, *, owner: str, instance: str, idle_s: float) -> str | None:
        """The session is to live in ``instance``. Returns the other one that it lives in, if it is alive.

        The row's insertion decides between two gateways that want it at once.
        """
        while True:
            now = self._clock()
            own_or_nobodys = (sessions.c.instance == instance) | ~is_live(sessions.c.instance, now)
            values = {"id": id, "owner": owner, "instance": instance, "created_at": now, "idle_s": idle_s}
            try:
                async with self._connections.begin() as connection:
                    await connection.execute(delete(sessions).where(sessions.c.id == id, own_or_nobodys))
                    await connection.execute(insert(sessions).values(values))
                return None
            except IntegrityError:
                holder = select(sessions.c.instance).where(sessions.c.id == id, is_live(sessions.c.instance, now))
                async with self._connections.connect() as connection:
                    found: str | None = await connection.scalar(holder)
                if found is not None:  # else it has ended in between: try again
                    return found

    async def release(self, ids: Collection[str], *, instance: str) -> None:
        """These have ended."""
        async with self._connections.begin() as connection:
            await connection.execute(delete(sessions).where(sessions.c.id.in_(ids), sessions.c.instance == instance))

    async def find(self, id: str, *, owner: str) -> SessionRecord | None:
        query = self._live(owner).where(sessions.c.id == id)
        async with self._connections.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return SessionRecord(**row._mapping) if row else None

    async def list(self, *, owner: str) -> Sequence[SessionRecord]:
        """Oldest first, at most ``LIST_LIMIT``."""
        query = self._live(owner).order_by(sessions.c.created_at, sessions.c.id).limit(LIST_LIMIT)
        async with self._connections.connect() as connection:
            return [SessionRecord(**row._mapping) for row in await connection.execute(query)]

    async def held_by(self, instance: str) -> set[str]:
        """Ids of all sessions that live in the instance."""
        async with self._connections.connect() as connection:
            return set(await connection.scalars(select(sessions.c.id).where(sessions.c.instance == instance)))

    def _live(self, owner: str) -> Select[Any]:
        return owned(sessions, owner).where(is_live(sessions.c.instance, self._clock()))
