"""Containers as records and sessions: the record outlives the session, and tells what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from uuid import uuid4
from weakref import WeakKeyDictionary

from app.containers.open_container import OpenContainer
from app.errors import RequestError, SessionElsewhere
from app.ids import is_id
from app.instance import Instance
from app.sandbox.registry import SessionRegistry
from app.sandbox.worker.worker import Worker
from app.store.blobs import BlobStore
from app.store.containers import ContainerRecord
from app.store.database import Store
from app.store.paging import PageRequest

ContainerStatus = Literal["running", "expired"]

#: OpenAI's, and what code is told of memory is the deployment's (EAGER_MEMORY_MB).
DEFAULT_MEMORY_LIMIT = "1g"

CONTAINER_PREFIX = "cntr_"


class ContainerHost:
    """The session of a container has the container's id."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: BlobStore,
        registry: SessionRegistry,
        instance: Instance,
        checkout_timeout_s: float,
    ) -> None:
        self.idle_minutes = max(1, int(registry.idle_s // 60))
        self._store = store
        self._blobs = blobs
        self._registry = registry
        self._instance = instance
        self._checkout_timeout_s = checkout_timeout_s
        #: Which files of ``/v1/files`` were put into each. No table: it matters as long as the sandbox lives.
        self._placed: WeakKeyDictionary[Worker, dict[str, str]] = WeakKeyDictionary()

    @property
    def python_version(self) -> tuple[int, int]:
        """Grammar of code in containers."""
        return self._registry.python_version

    async def find(self, id: str, *, owner: str) -> ContainerRecord:
        """
        Raises:
            RequestError: 404.
        """
        record = await self._store.containers.get(id, owner=owner) if is_id(id) else None
        if record is None:
            raise _not_found(id)
        return record

    async def require_alive(self, id: str, *, owner: str) -> None:
        """
        Raises:
            RequestError: 404, there is none, or it has expired.
            SessionElsewhere: another gateway holds it.
        """
        record = await self.find(id, owner=owner)
        if not self.is_usable(record):
            raise expired(id)

    def status(self, record: ContainerRecord) -> ContainerStatus:
        """Wherever it lives."""
        return "running" if self._is_elsewhere(record) or self.is_alive(record.id, owner=record.owner) else "expired"

    def is_usable(self, record: ContainerRecord) -> bool:
        """Whether it is alive. What is alive elsewhere is not made anew.

        Raises:
            SessionElsewhere: another gateway holds it.
        """
        if self.is_alive(record.id, owner=record.owner):
            return True
        if self._is_elsewhere(record):
            raise _elsewhere(record.id)
        return False

    def is_alive(self, id: str, *, owner: str) -> bool:
        """Whether it can be used, here and now."""
        return self._registry.is_alive(id, owner=owner)

    async def find_usable(self, id: str, *, owner: str) -> bool:
        """Whether there is such a container, and it is alive.

        Raises:
            SessionElsewhere: another gateway holds it.
        """
        if self.is_alive(id, owner=owner):
            return True
        record = await self._store.containers.get(id, owner=owner) if is_id(id) else None
        return record is not None and self.is_usable(record)

    async def find_alive(self, name: str, *, owner: str) -> str | None:
        """Id of the latest container with this name that is alive.

        Raises:
            SessionElsewhere: another gateway holds it.
        """
        records, _ = await self._store.containers.list(owner=owner, page=PageRequest(), name=name)
        return next((record.id for record in records if self.is_usable(record)), None)

    def _is_elsewhere(self, record: ContainerRecord) -> bool:
        return record.instance is not None and record.instance != self._instance.id

    @asynccontextmanager
    async def create(
        self,
        id: str,
        *,
        owner: str,
        name: str,
        idle_minutes: int | None = None,
        memory_limit: str | None = None,
        spare: bool = False,
    ) -> AsyncIterator[OpenContainer]:
        """A new one, in use; ``id`` is of ``new_container_id()``. ``spare``: nobody asked to keep it.

        Raises:
            SandboxError: no sandbox came free.
        """
        idle_s = None if idle_minutes is None else idle_minutes * 60.0
        await self._registry.create(owner=owner, deadline_s=self._checkout_timeout_s, id=id, idle_s=idle_s, spare=spare)
        async with self._registry.use(id, owner=owner) as worker:
            try:
                await self._store.containers.add(
                    id,
                    owner=owner,
                    name=name,
                    idle_minutes=idle_minutes or self.idle_minutes,
                    memory_limit=memory_limit or DEFAULT_MEMORY_LIMIT,
                )
            except BaseException:  # nobody would find the session
                await self._registry.delete(id, owner=owner)
                raise
            yield self._open(id, worker, owner=owner, fresh=True)

    @asynccontextmanager
    async def use(self, id: str, *, owner: str) -> AsyncIterator[OpenContainer]:
        """
        Raises:
            RequestError: 404, there is none, or it has expired.
            SessionBusy: another request uses it.
            SessionElsewhere: another gateway holds it.
        """
        await self.require_alive(id, owner=owner)
        async with self._registry.use(id, owner=owner) as worker:
            await self._store.containers.touch(id, owner=owner)
            yield self._open(id, worker, owner=owner, fresh=False)

    async def delete(self, id: str, *, owner: str) -> None:
        """
        Raises:
            RequestError: 404.
            SessionElsewhere: another gateway holds it: it is still there.
        """
        record = await self.find(id, owner=owner)
        if self._is_elsewhere(record):
            raise _elsewhere(id)
        if self.is_alive(id, owner=owner):
            await self._registry.delete(id, owner=owner)
        if not await self._store.containers.delete(id, owner=owner):
            raise _not_found(id)
        await self._store.shared.revoke(owner=owner, session=id)

    def _open(self, id: str, worker: Worker, *, owner: str, fresh: bool) -> OpenContainer:
        placed = self._placed.setdefault(worker, {})
        return OpenContainer(id, worker, owner=owner, fresh=fresh, placed=placed, store=self._store, blobs=self._blobs)


def new_container_id() -> str:
    return CONTAINER_PREFIX + uuid4().hex


def expired(id: str) -> RequestError:
    return RequestError(
        f"Container with id '{id}' has expired.", param="container_id", code="container_expired", status=404
    )


def _not_found(id: str) -> RequestError:
    return RequestError(
        f"Container with id '{id}' not found.", param="container_id", code="container_not_found", status=404
    )


def _elsewhere(id: str) -> SessionElsewhere:
    return SessionElsewhere(
        f"Container with id '{id}' lives in another gateway of this deployment, where alone it can be used.",
        param="container_id",
        code="container_elsewhere",
    )
