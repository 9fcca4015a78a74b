"""Opens the database and hands out what reads and writes each table."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.connections import Connections
from app.store.containers import ContainerFiles, Containers
from app.store.engine import open_engine
from app.store.files import Files
from app.store.hidden_calls import HiddenCalls
from app.store.idempotency import IdempotencyKeys
from app.store.instances import Instances, Sessions
from app.store.quota import Quota
from app.store.responses import Responses
from app.store.schema import Upgrade, bring_up_to_date
from app.store.shared import Shared


class Store:
    """The tables. Each method of theirs is one transaction."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time, quota: Quota | None = None) -> None:
        connections = Connections(engine)
        quota = quota or Quota()
        self.instances = Instances(connections, clock)
        self.sessions = Sessions(connections, clock)
        self.responses = Responses(connections, clock, quota)
        self.containers = Containers(connections, clock)
        self.container_files = ContainerFiles(connections, clock)
        self.files = Files(connections, clock, quota)
        self.hidden_calls = HiddenCalls(connections, clock)
        self.shared = Shared(connections, clock, quota)
        self.idempotency_keys = IdempotencyKeys(connections, clock)

    async def purge(self) -> None:
        """Remove what has expired. Nothing of it could be read any more; this only frees the space."""
        await self.instances.purge()
        await self.hidden_calls.purge()
        await self.idempotency_keys.purge()


@asynccontextmanager
async def open_store(
    url: str, *, clock: Callable[[], float] = time.time, quota: Quota | None = None
) -> AsyncIterator[Store]:
    """Connect, and bring the schema up to date (``app/store/schema.py``).

    Raises:
        WrongSchema: the database is none that this release can use.
    """
    async with open_engine(url) as engine:
        await bring_up_to_date(engine)
        yield Store(engine, clock, quota)


async def upgrade_store(url: str) -> Upgrade | None:
    """Bring the schema up to date, and nothing else. None if there was nothing to do.

    Raises:
        WrongSchema: as ``open_store``.
    """
    async with open_engine(url) as engine:
        return await bring_up_to_date(engine)
