"""This process among the gateways that share a database: its heartbeat, and the sessions that it holds.

Its lease is renewed three times before it is over. What another gateway took meanwhile, since the lease was over (the
process was suspended, or the database away), is given up here: a session never lives in two.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from app.errors import SessionElsewhere, StorageError
from app.sandbox.registry import SessionRegistry
from app.store.database import Store
from app.store.instances import SessionRecord

log = logging.getLogger(__name__)

LEASE_S = 30.0
BEAT_S = 10.0
#: A database that does not answer does not keep a gateway from ending.
LEAVE_S = 2.0


class Instance:
    """A ``Directory``. ``id`` is of chance: no two gateways have one, also after a restart."""

    def __init__(self, store: Store, *, lease_s: float = LEASE_S, beat_s: float = BEAT_S) -> None:
        self.id = f"inst_{secrets.token_hex(8)}"
        self._store = store
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._ended: set[str] = set()
        self._has_ended = asyncio.Event()
        #: Claims and releases of one id must come to the database in their order.
        self._writing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Instance {self.id}>"

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """From the first heartbeat to its end, after which nothing lives here."""
        await self._store.instances.beat(self.id, lease_s=self._lease_s)
        try:
            yield
        finally:
            with suppress(StorageError, TimeoutError):  # the lease will be over soon
                async with asyncio.timeout(LEAVE_S):
                    await self._store.instances.leave(self.id)

    async def keep_alive(self, registry: SessionRegistry) -> NoReturn:
        """Beat, and tell what has ended. A database that is away for a while stops nothing."""
        clock = asyncio.get_running_loop().time
        due = clock() + self._beat_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._has_ended.wait()
            self._has_ended.clear()
            with suppress(StorageError):  # which has been logged; the next beat tries again
                if clock() < due:
                    await self.settle()
                else:
                    due = clock() + self._beat_s
                    await self.beat(registry)

    async def beat(self, registry: SessionRegistry) -> None:
        """Renew the lease; then make sure that what is here is ours, and the other way round."""
        await self._store.instances.beat(self.id, lease_s=self._lease_s)
        async with self._writing:
            ours = await self._store.sessions.held_by(self.id)
            await self._release(ours.difference(registry.ids()) | self._ended)
        for session in registry.entries():
            if session.id in ours:
                continue
            try:
                await self.claim(session.id, owner=session.owner, idle_s=session.expires_after_s)
            except SessionElsewhere:
                log.warning("session %s was taken by another gateway while this one did not answer", session.id)
                registry.give_up(session.id)

    async def settle(self) -> None:
        """Tell the others now what has ended here."""
        async with self._writing:
            await self._release(self._ended)

    async def _release(self, ids: set[str]) -> None:
        if ids:
            told = frozenset(ids)
            await self._store.sessions.release(told, instance=self.id)
            self._ended -= told

    async def claim(self, id: str, *, owner: str, idle_s: float) -> None:
        async with self._writing:
            self._ended.discard(id)
            holder = await self._store.sessions.claim(id, owner=owner, instance=self.id, idle_s=idle_s)
        if holder is not None:
            raise _elsewhere(id)

    def release(self, id: str) -> None:
        self._ended.add(id)
        self._has_ended.set()

    async def require_nowhere(self, id: str, *, owner: str) -> None:
        if await self.find_elsewhere(id, owner=owner) is not None:
            raise _elsewhere(id)

    async def find_elsewhere(self, id: str, *, owner: str) -> SessionRecord | None:
        """The session, if another gateway holds it."""
        found = await self._store.sessions.find(id, owner=owner)
        return None if found is None or found.instance == self.id else found

    async def list_elsewhere(self, *, owner: str) -> list[SessionRecord]:
        """Sessions that other gateways hold, oldest first."""
        return [found for found in await self._store.sessions.list(owner=owner) if found.instance != self.id]


def _elsewhere(id: str) -> SessionElsewhere:
    return SessionElsewhere(f"session {id} lives in another gateway of this deployment, where alone it can be used")
