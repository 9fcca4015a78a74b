"""Records of containers and of the files in them. The container itself is a session (``instances.py``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.store.connections import Connections
from app.store.instances import is_live
from app.store.paging import PageRequest, Pages, owned
from app.store.tables import container_files, containers, sessions


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """
    Attributes:
        idle_minutes: it expires after this long without use.
        instance: the live gateway that holds its session; None if none does, so that it has expired.
    """

    id: str
    owner: str
    created_at: float
    last_active_at: float
    name: str
    idle_minutes: int
    memory_limit: str | None
    instance: str | None


class Containers:
    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock
        self._pages = Pages(containers)

    async def add(self, id: str, *, owner: str, name: str, idle_minutes: int, memory_limit: str | None) -> None:
        """Its session is there already."""
        now = self._clock()
        values = {"id": id, "owner": owner, "created_at": now, "last_active_at": now, "name": name}
        async with self._connections.begin() as connection:
            await connection.execute(
                insert(containers).values(**values, idle_minutes=idle_minutes, memory_limit=memory_limit)
            )

    async def get(self, id: str, *, owner: str) -> ContainerRecord | None:
        query = self._with_instance(owner).where(containers.c.id == id)
        async with self._connections.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return ContainerRecord(**row._mapping) if row else None

    async def list(
        self, *, owner: str, page: PageRequest, name: str | None = None
    ) -> tuple[list[ContainerRecord], bool]:
        """One page, and whether more follow."""
        query = self._with_instance(owner)
        if name is not None:
            query = query.where(containers.c.name == name)
        async with self._connections.connect() as connection:
            rows, more = await self._pages.fetch(connection, query, page, owner=owner)
        return [ContainerRecord(**row._mapping) for row in rows], more

    async def touch(self, id: str, *, owner: str) -> None:
        """It was used just now."""
        async with self._connections.begin() as connection:
            await connection.execute(
                update(containers)
                .where(containers.c.id == id, containers.c.owner == owner)
                .values(last_active_at=self._clock())
            )

    async def delete(self, id: str, *, owner: str) -> bool:
        """Removes it and the records of its files. Whether there was one."""
        async with self._connections.begin() as connection:
            result = await connection.execute(
                delete(containers).where(containers.c.id == id, containers.c.owner == owner)
            )
            await connection.execute(
                delete(container_files).where(container_files.c.container_id == id, container_files.c.owner == owner)
            )
        return result.rowcount > 0

    def _with_instance(self, owner: str) -> Select[Any]:
        live = select(sessions.c.instance).where(
            sessions.c.id == containers.c.id,
            sessions.c.owner == containers.c.owner,
            is_live(sessions.c.instance, self._clock()),
        )
        return owned(containers, owner).add_columns(live.scalar_subquery().label("instance"))


@dataclass(frozen=True, slots=True)
class ContainerFileRecord:
    """``path`` is absolute in the container; ``assistant`` is code that wrote it."""

    id: str
    owner: str
    container_id: str
    created_at: float
    path: str
    bytes: int
    source: Literal["user", "assistant"]


class ContainerFiles:
    """Names are kept unique: what is written to the same path again keeps the file's id."""

    def __init__(self, connections: Connections, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._clock = clock
        self._pages = Pages(container_files)

    async def put(
        self, id: str, *, owner: str, container_id: str, path: str, bytes: int, source: Literal["user", "assistant"]
    ) -> ContainerFileRecord:
        """Record a file under ``id``, or, if its path is known, the new contents under the id that it has."""
        record = ContainerFileRecord(id, owner, container_id, self._clock(), path, bytes, source)
        same_path = owned(container_files, owner).where(
            container_files.c.container_id == container_id, container_files.c.path == path
        )
        while True:
            try:
                async with self._connections.begin() as connection:
                    known = (await connection.execute(same_path)).one_or_none()
                    if known is None:
                        await connection.execute(insert(container_files).values(asdict(record)))
                        return record
                    renewed = replace(record, id=known.id)
                    await connection.execute(
                        update(container_files).where(container_files.c.id == known.id).values(asdict(renewed))
                    )
                    return renewed
            except IntegrityError:  # somebody else recorded the path in between: now it is known
                continue

    async def sync(
        self, sizes: Mapping[str, int], *, owner: str, container_id: str, new_id: Callable[[], str]
    ) -> list[ContainerFileRecord]:
        """Record what lies in the container: ``sizes`` of all its files, by path. What was not known, or has another
        size, was written by code. Answers with the records there are now."""
        table = container_files
        mine = (table.c.owner == owner, table.c.container_id == container_id)
        async with self._connections.begin() as connection:
            rows = (await connection.execute(select(table).where(*mine))).all()
            known = {row.path: ContainerFileRecord(**row._mapping) for row in rows}
            current = {
                path: record
                if (record := known.get(path)) is not None and record.bytes == size
                else ContainerFileRecord(
                    record.id if record else new_id(), owner, container_id, self._clock(), path, size, "assistant"
                )
                for path, size in sizes.items()
            }
            changed = [record for path, record in current.items() if record != known.get(path)]
            stale = [record.id for path, record in known.items() if current.get(path) != record]
            if stale:
                await connection.execute(delete(table).where(*mine, table.c.id.in_(stale)))
            if changed:
                await connection.execute(insert(table), [asdict(record) for record in changed])
        return list(current.values())

    async def get(self, id: str, *, owner: str, container_id: str) -> ContainerFileRecord | None:
        query = owned(container_files, owner).where(
            container_files.c.id == id, container_files.c.container_id == container_id
        )
        async with self._connections.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return ContainerFileRecord(**row._mapping) if row else None

    async def list(self, *, owner: str, container_id: str, page: PageRequest) -> tuple[list[ContainerFileRecord], bool]:
        """One page, and whether more follow."""
        query = owned(container_files, owner).where(container_files.c.container_id == container_id)
        async with self._connections.connect() as connection:
            rows, more = await self._pages.fetch(connection, query, page, owner=owner)
        return [ContainerFileRecord(**row._mapping) for row in rows], more

    async def delete(self, id: str, *, owner: str, container_id: str) -> bool:
        """Whether there was one."""
        async with self._connections.begin() as connection:
            result = await connection.execute(
                delete(container_files).where(
                    container_files.c.id == id,
                    container_files.c.owner == owner,
                    container_files.c.container_id == container_id,
                )
            )
        return result.rowcount > 0
