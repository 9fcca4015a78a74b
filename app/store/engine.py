"""Engines: SQLAlchemy's, with what SQLite needs to be shared by requests and gateways."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

#: Seconds that a writer waits for another one of SQLite's.
BUSY_S = 10


@asynccontextmanager
async def open_engine(url: str) -> AsyncIterator[AsyncEngine]:
    """
    Args:
        url: any async SQLAlchemy URL, such as ``sqlite+aiosqlite:///eager.db`` or ``postgresql+asyncpg://...``.
    """
    engine = _engine(make_url(url))
    try:
        if engine.dialect.name == "sqlite":
            await _write_ahead(engine)
        yield engine
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
