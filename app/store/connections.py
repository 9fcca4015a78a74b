"""Connections to the database; and what it and the disk say when they fail, as errors of ours, told to the operator."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import StorageError, StorageFull

log = logging.getLogger(__name__)

#: PostgreSQL's ``disk_full``.
FULL_STATE = "53100"


class Connections:
    """As the engine gives them, under errors of ours."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, unless that ends in an exception."""
        with translated():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """For reading."""
        with translated():
            async with self._engine.connect() as connection:
                yield connection


@contextmanager
def translated(*, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """
    Raises:
        StorageError: the storage failed. What a statement did wrong, and ``but``, is raised as it is.
    """
    try:
        yield
    except but:
        raise
    except (OSError, DBAPIError, NoneFree) as error:
        failure = _failure(error)
        if failure is None:
            raise
        log.error("the storage fails: %s", error.orig if isinstance(error, DBAPIError) else error)
        raise failure from error


def _failure(error: OSError | DBAPIError | NoneFree) -> StorageError | None:
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return StorageFull("The server has no space left for this.")
        case DBAPIError(orig=orig) if _is_full(orig):
            return StorageFull("The server has no space left for this.")
        case TimeoutError(errno=None):  # of asyncio
            return None
        case OSError() | OperationalError() | InterfaceError() | DBAPIError(connection_invalidated=True) | NoneFree():
            return StorageError("The server cannot reach its storage at the moment.")
        case _:
            return None


def _is_full(error: BaseException | None) -> bool:
    code, state = getattr(error, "sqlite_errorcode", None), getattr(error, "sqlstate", None)
    return code == sqlite3.SQLITE_FULL or state == FULL_STATE
