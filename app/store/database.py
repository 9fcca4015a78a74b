"""Opens the database and hands out what reads and writes each table."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, func, make_url, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.schema import CreateIndex, CreateTable

from app.store.connections import Connections
from app.store.containers import ContainerFiles, Containers
from app.store.files import Files
from app.store.hidden_calls import HiddenCalls
from app.store.idempotency import IdempotencyKeys
from app.store.responses import Responses
from app.store.shared import Shared
from app.store.tables import metadata

#: Seconds that a writer waits for another one of SQLite's.
BUSY_S = 10
#: Held while tables are created. Any number will do that others do not use.
SCHEMA_LOCK = 0x6561676572


class Store:
    """The tables. Each method of theirs is one transaction."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        connections = Connections(engine)
        self.responses = Responses(connections, clock)
        self.containers = Containers(connections, clock)
        self.container_files = ContainerFiles(connections, clock)
        self.files = Files(connections, clock)
        self.hidden_calls = HiddenCalls(connections, clock)
        self.shared = Shared(connections, clock)
        self.idempotency_keys = IdempotencyKeys(connections, clock)

    async def purge(self) -> None:
        """Remove what has expired. Nothing of it could be read any more; this only frees the space."""
        await self.hidden_calls.purge()
        await self.idempotency_keys.purge()


@asynccontextmanager
async def open_store(url: str, *, clock: Callable[[], float] = time.time) -> AsyncIterator[Store]:
    """Connect, and create the tables that are missing.

    Args:
        url: any async SQLAlchemy URL, such as ``sqlite+aiosqlite:///eager.db`` or ``postgresql+asyncpg://...``.
    """
    engine = _engine(make_url(url))
    try:
        if engine.dialect.name == "sqlite":
            await _write_ahead(engine)
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # several gateways may start at once
                await connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))
            for table in metadata.sorted_tables:
                await connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    await connection.execute(CreateIndex(index, if_not_exists=True))
        yield Store(engine, clock)
    finally:
        await engine.dispose()


def _engine(url: URL) -> AsyncEngine:
    """Its errors, which are logged, do not quote what was to be written: that is what users and models said."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=True)
    in_memory = url.database in (None, "", ":memory:")
    if url.database and not in_memory:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # A database in memory lives in its one connection, which transactions must take turns with.
    one = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    pool: dict[str, Any] = one if in_memory else {}
    arguments = {"timeout": BUSY_S, "factory": _SqliteConnection}
    engine = create_async_engine(url, hide_parameters=True, connect_args=arguments, **pool)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


async def _write_ahead(engine: AsyncEngine) -> None:
    """Readers do not wait for the writer. That is noted in the file; where several gateways do so at once, SQLite does
    not wait for the lock as it does elsewhere."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError as error:
            busy = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


class _SqliteConnection(sqlite3.Connection):
    """Closing it ends its transaction. SQLite puts that off while there are cursors, and those of a request that was
    cancelled live on in its traceback, until they are found to be garbage; meanwhile nobody else could write."""

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()

    def __del__(self) -> None:
        """aiosqlite lets go of one that comes when its request has been cancelled; Python 3.13 warns of that."""
        with suppress(sqlite3.Error):
            self.close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """A commit survives the death of the process, if not of the machine."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
