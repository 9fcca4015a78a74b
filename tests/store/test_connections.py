"""A database or a disk that fails: what is told of it, and what stays."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from app.errors import StorageError, StorageFull
from app.store.blobs import BlobStore
from app.store.connections import FULL_STATE, Connections, translated
from app.store.tables import hidden_calls, metadata

ROW = {"owner": "a", "key": "k", "value": "x" * 100_000, "expires_at": 2e9}


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.exec_driver_sql("PRAGMA max_page_count=40")
    yield Connections(engine)
    await engine.dispose()


async def write(connections: Connections, rows: list[dict[str, Any]]) -> None:
    async with connections.begin() as connection:
        await connection.execute(insert(hidden_calls), rows)


async def test_a_database_that_is_full_says_so_and_goes_on(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StorageFull) as caught:
        await write(connections, [{**ROW, "key": str(number)} for number in range(10)])
    assert (caught.value.status, caught.value.code) == (507, "insufficient_storage")
    assert caught.value.headers == {"x-should-retry": "false"}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "the storage fails: database or disk is full"
    ]
    async with connections.connect() as connection:
        assert (await connection.execute(hidden_calls.select())).all() == []


async def test_what_a_statement_does_wrong_is_no_failure_of_the_storage(connections: Connections) -> None:
    with pytest.raises(IntegrityError):
        await write(connections, [{**ROW, "value": 1}] * 2)


class _Said(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("it failed")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 507),
        (DBAPIError("insert", None, _Said(FULL_STATE)), 507),
        (OperationalError("select", None, _Said("57P01")), 503),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 503),
        (OSError("Multiple exceptions: ..."), 503),
        (FileNotFoundError(errno.ENOENT, "no such socket"), 503),
        (DBAPIError("select", None, Exception("the connection was closed"), connection_invalidated=True), 503),
        (OSError(errno.EROFS, "Read-only file system"), 503),
    ],
)
def test_failures_of_any_storage_are_told_by_their_status(error: Exception, status: int) -> None:
    with pytest.raises(StorageError) as caught, translated():
        raise error
    assert caught.value.status == status


async def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path / "blobs"))
    await blobs.prepare()
    (tmp_path / "blobs").rename(tmp_path / "away")
    with pytest.raises(StorageError, match="cannot reach"):
        await blobs.put("file-1", b"1")
    (tmp_path / "away").rename(tmp_path / "blobs")
    await blobs.put("file-1", b"1")


@pytest.mark.parametrize("error", [TimeoutError(), ValueError()])
def test_other_exceptions_are_raised_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated():
        raise error
    assert caught.value is error


async def test_a_full_disk_keeps_nothing_of_a_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    blobs = BlobStore(str(tmp_path))
    await blobs.prepare()
    monkeypatch.setattr(blobs._files, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(StorageFull):
        await blobs.put("file-1", b"x" * 100)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
