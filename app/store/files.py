"""Metadata of uploaded files. Their contents are blobs named by the file's id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.paging import PageRequest, fetch_page, owned
from app.store.tables import files


@dataclass(frozen=True, slots=True)
class FileRecord:
    id: str
    owner: str
    created_at: float
    filename: str
    bytes: int
    purpose: str


class Files:
    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    async def add(self, id: str, *, owner: str, filename: str, bytes: int, purpose: str) -> FileRecord:
        record = FileRecord(id, owner, self._clock(), filename, bytes, purpose)
        async with self._engine.begin() as connection:
            await connection.execute(insert(files).values(asdict(record)))
        return record

    async def get(self, id: str, *, owner: str) -> FileRecord | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(owned(files, owner).where(files.c.id == id))).one_or_none()
        return FileRecord(**row._mapping) if row else None

    async def list(self, *, owner: str, page: PageRequest, purpose: str | None = None) -> tuple[list[FileRecord], bool]:
        """One page, and whether more follow."""
        query = owned(files, owner)
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        async with self._engine.connect() as connection:
            rows, more = await fetch_page(connection, files, query, page)
        return [FileRecord(**row._mapping) for row in rows], more

    async def delete(self, id: str, *, owner: str) -> bool:
        """Whether there was one."""
        async with self._engine.begin() as connection:
            result = await connection.execute(delete(files).where(files.c.id == id, files.c.owner == owner))
        return result.rowcount > 0
