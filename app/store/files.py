"""Metadata of uploaded files. Their contents are blobs named by the file's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, delete, insert, select

from app.store.connections import Connections
from app.store.paging import PageRequest, Pages, owned
from app.store.quota import Quota
from app.store.tables import files


@dataclass(frozen=True, slots=True)
class FileRecord:
    """``expires_at`` is None for a file that stays until it is deleted. An expired one is not there any more."""

    id: str
    owner: str
    created_at: float
    filename: str
    bytes: int
    purpose: str
    expires_at: float | None = None


class Files:
    def __init__(self, connections: Connections, clock: Callable[[], float], quota: Quota) -> None:
        self._connections = connections
        self._quota = quota
        self._clock = clock
        self._pages = Pages(files)

    async def add(
        self, id: str, *, owner: str, filename: str, bytes: int, purpose: str, expires_after_s: float | None = None
    ) -> FileRecord:
        """
        Raises:
            OverQuota: the owner may not keep so much.
        """
        now = self._clock()
        expires_at = None if expires_after_s is None else now + expires_after_s
        record = FileRecord(id, owner, now, filename, bytes, purpose, expires_at)
        await self._quota.require(self._connections, owner, bytes)
        async with self._connections.begin() as connection:
            await connection.execute(insert(files).values(asdict(record)))
        return record

    async def get(self, id: str, *, owner: str) -> FileRecord | None:
        async with self._connections.connect() as connection:
            query = owned(files, owner).where(files.c.id == id, self._is_there())
            row = (await connection.execute(query)).one_or_none()
        return FileRecord(**row._mapping) if row else None

    async def get_all(self, ids: Sequence[str], *, owner: str) -> Sequence[FileRecord]:
        """Those of ``ids`` that are there, in any order."""
        query = owned(files, owner).where(files.c.id.in_(ids), self._is_there())
        async with self._connections.connect() as connection:
            return [FileRecord(**row._mapping) for row in await connection.execute(query)]

    async def list(self, *, owner: str, page: PageRequest, purpose: str | None = None) -> tuple[list[FileRecord], bool]:
        """One page, and whether more follow."""
        query = owned(files, owner).where(self._is_there())
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        async with self._connections.connect() as connection:
            rows, more = await self._pages.fetch(connection, query, page, owner=owner)
        return [FileRecord(**row._mapping) for row in rows], more

    async def delete(self, id: str, *, owner: str) -> bool:
        """Whether there was one."""
        async with self._connections.begin() as connection:
            result = await connection.execute(
                delete(files).where(files.c.id == id, files.c.owner == owner, self._is_there())
            )
        return result.rowcount > 0

    async def expired(self) -> Sequence[str]:
        """Ids of files of anybody whose contents can be removed, and then their rows (``forget``)."""
        async with self._connections.connect() as connection:
            return (await connection.execute(select(files.c.id).where(~self._is_there()))).scalars().all()

    async def forget(self, id: str) -> None:
        """Remove the row of an expired file."""
        async with self._connections.begin() as connection:
            await connection.execute(delete(files).where(files.c.id == id, ~self._is_there()))

    def _is_there(self) -> ColumnElement[bool]:
        return files.c.expires_at.is_(None) | (files.c.expires_at > self._clock())
