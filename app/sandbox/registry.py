"""Sessions with a name, which outlive the request that made them (``eager.session``, /v1/sessions).

Each holds one worker of the pool. It belongs to an owner (an API key): to others it does not exist. It is used by one
request at a time, expires when nobody has used it for ``idle_s``, and when an owner has too many, the one unused for
longest makes room.

A *spare* session is one that nobody asked to keep (the container of ``{"type": "auto"}``). It does not count against
the owner's limit while it is used, and it makes room for anybody when sandboxes are short. So does any session of an
owner that has more than its share of the sandboxes (``app/shares.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from app.errors import RequestError, SandboxGone, SandboxUnavailable, SessionBusy
from app.ids import new_id
from app.sandbox.directory import Directory, OnlyHere
from app.sandbox.pool import Pool
from app.sandbox.worker.worker import Worker


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """What is told about a session. Times are seconds since the epoch."""

    id: str
    owner: str
    busy: bool
    created_at: float
    last_used_at: float
    expires_after_s: float


@dataclass(slots=True, eq=False)
class _Named:
    id: str
    owner: str
    worker: Worker
    idle_s: float
    spare: bool
    free: asyncio.Event = field(default_factory=asyncio.Event)
    created_at: float = field(default_factory=time.time)
    last_used_at: float = field(default_factory=time.time)
    expiry: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.free.set()

    @property
    def busy(self) -> bool:
        return not self.free.is_set()


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    sessions: int
    busy: int
    created: int
    expired: int
    displaced: int


class SessionRegistry:
    """``async with SessionRegistry(pool, ...) as registry``, inside the pool's own block.

    Args:
        idle_s: a session not used for so long is closed.
        limit: sessions of one owner.
        directory: tells what lives in other gateways.
    """

    def __init__(self, pool: Pool, *, idle_s: float, limit: int, directory: Directory | None = None) -> None:
        self.idle_s = idle_s
        self._pool = pool
        self._limit = limit
        self._directory = directory or OnlyHere()
        self._sessions: dict[str, _Named] = {}
        self._opening: dict[str, int] = {}
        self._opening_ids: set[str] = set()
        self._created = self._expired = self._displaced = 0

    def __repr__(self) -> str:
        return f"<SessionRegistry {len(self._sessions)} sessions>"

    @property
    def python_version(self) -> tuple[int, int]:
        """Grammar of the sandboxes."""
        return self._pool.python_version

    def statistics(self) -> RegistryStatistics:
        return RegistryStatistics(
            sessions=len(self._sessions),
            busy=sum(session.busy for session in self._sessions.values()),
            created=self._created,
            expired=self._expired,
            displaced=self._displaced,
        )

    async def __aenter__(self) -> Self:
        self._pool.on_shortage = self._give_way
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.on_shortage = None
        for session in list(self._sessions.values()):
            self._drop(session)

    async def create(
        self,
        *,
        owner: str,
        deadline_s: float,
        id: str | None = None,
        idle_s: float | None = None,
        spare: bool = False,
    ) -> SessionEntry:
        """A new session, with a fresh worker. ``id`` is the caller's own, and unguessable; None makes one.

        Raises:
            SandboxUnavailable: no worker in time, or the owner has as many sessions as allowed and all are busy.
            SessionBusy: there is one with this id, or another request is making it.
            SessionElsewhere: there is one with this id in another gateway.
        """
        id = id or new_id("ses")
        self._require_free(id)
        self._make_room(owner, spare=spare)
        self._opening[owner] = self._opening.get(owner, 0) + 1
        self._opening_ids.add(id)
        idle_s = self.idle_s if idle_s is None else idle_s
        try:
            await self._directory.claim(id, owner=owner, idle_s=idle_s)
            try:
                worker = await self._pool.acquire(deadline_s, owner=owner)
            except BaseException:
                self._directory.release(id)
                raise
        finally:
            self._opening_ids.remove(id)
            self._opening[owner] -= 1
            if not self._opening[owner]:
                del self._opening[owner]
        session = _Named(id, owner, worker, idle_s, spare)
        self._sessions[session.id] = session
        self._created += 1
        self._wait_for_expiry(session)
        return self._entry(session)

    async def get(self, id: str, *, owner: str) -> SessionEntry:
        """
        Raises:
            RequestError: 404.
            SessionElsewhere: another gateway holds it.
        """
        return self._entry(await self._find(id, owner))

    def is_alive(self, id: str, *, owner: str) -> bool:
        """Whether there is such a session, and its sandbox has not died."""
        session = self._sessions.get(id)
        return session is not None and session.owner == owner and session.worker.death is None

    def entries(self) -> list[SessionEntry]:
        """Of everybody."""
        return [self._entry(session) for session in self._sessions.values()]

    def list(self, *, owner: str) -> list[SessionEntry]:
        """Sessions of one owner, oldest first."""
        return [self._entry(session) for session in self._sessions.values() if session.owner == owner]

    def ids(self) -> set[str]:
        """Of all sessions, and of those that are being made."""
        return self._sessions.keys() | self._opening_ids

    async def delete(self, id: str, *, owner: str) -> None:
        """Close a session; code that runs in it ends with ``SandboxGone``.

        Raises:
            RequestError: 404.
            SessionElsewhere: another gateway holds it.
        """
        self._drop(await self._find(id, owner))

    def give_up(self, id: str) -> None:
        """Close a session of whomever, if there is one: it lives in another gateway by now."""
        if (session := self._sessions.get(id)) is not None:
            self._drop(session)

    async def interrupt(self, id: str, *, owner: str) -> None:
        """Stop what runs in the session, if anything does.

        Raises:
            RequestError: 404.
            SessionElsewhere: another gateway holds it.
        """
        session = await self._find(id, owner)
        await session.worker.interrupt()

    async def until_free(self, id: str, *, limit_s: float) -> bool:
        """Wait while another request uses the session, or makes it; whether it could be used at once then."""
        session = self._sessions.get(id)
        if session is None:
            return id not in self._opening_ids
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await session.free.wait()
        return not session.busy

    @asynccontextmanager
    async def use(self, id: str, *, owner: str) -> AsyncIterator[Worker]:
        """The session's worker, for this caller alone.

        Raises:
            RequestError: 404, there is no such session (any more).
            SessionBusy: another request uses it.
            SessionElsewhere: another gateway holds it.
            SandboxGone: its sandbox has died. The session is removed.
        """
        session = await self._find(id, owner)
        if session.busy:
            raise SessionBusy(f"session {id} is busy")
        self._check_alive(session)
        session.free.clear()
        if session.expiry is not None:
            session.expiry.cancel()
        try:
            yield session.worker
        finally:
            session.free.set()
            session.last_used_at = time.time()
            if session.worker.death is not None:
                self._drop(session)
            elif self._sessions.get(session.id) is session:
                self._wait_for_expiry(session)
                self._trim(session.owner)

    async def _find(self, id: str, owner: str) -> _Named:
        session = self._sessions.get(id)
        if session is None or session.owner != owner:
            await self._directory.require_nowhere(id, owner=owner)
            message = f"no session {id}: there was none, or it has expired"
            raise RequestError(message, param="session", code="session_not_found", status=404)
        return session

    def _check_alive(self, session: _Named) -> None:
        if session.worker.death is not None:
            self._drop(session)
            raise SandboxGone(f"the sandbox of session {session.id} is gone: {session.worker.death}")

    def _require_free(self, id: str) -> None:
        known = self._sessions.get(id)
        if known is not None and known.worker.death is not None:
            self._drop(known)
        elif known is not None or id in self._opening_ids:
            raise SessionBusy(f"session {id} is busy")

    def _make_room(self, owner: str, *, spare: bool) -> None:
        own = [session for session in self._sessions.values() if session.owner == owner]
        if len(own) + self._opening.get(owner, 0) < self._limit:
            return
        if not self._displace(own) and not spare:
            raise SandboxUnavailable(f"{len(own)} sessions are in use, which is the limit")

    def _trim(self, owner: str) -> None:
        """A spare session may have been made beyond the limit, and others may be waiting for its sandbox."""
        own = [session for session in self._sessions.values() if session.owner == owner]
        if len(own) > self._limit:
            self._displace([session for session in own if session.spare])
        self._give_way()

    def _give_way(self) -> None:
        """Somebody may wait for a sandbox, and none can be started. For an owner that has less than its share a spare
        session of anybody goes, then any of those who have more than theirs; for others a spare one of their own."""
        owners = self._pool.shortage()
        if any(map(self._pool.is_below_share, owners)):
            sessions = self._sessions.values()
            self._displace([session for session in sessions if session.spare]) or self._displace(
                [session for session in sessions if self._pool.exceeds_share(session.owner)]
            )
        else:
            self._displace([each for each in self._sessions.values() if each.spare and each.owner in owners])

    def _displace(self, sessions: Iterable[_Named]) -> bool:
        """Close that which has not been used for longest; whether there was one."""
        idle = [session for session in sessions if not session.busy]
        if not idle:
            return False
        self._drop(min(idle, key=lambda session: session.last_used_at))
        self._displaced += 1
        return True

    def _wait_for_expiry(self, session: _Named) -> None:
        session.expiry = asyncio.get_running_loop().call_later(session.idle_s, self._expire, session)

    def _expire(self, session: _Named) -> None:
        self._expired += 1
        self._drop(session)

    def _drop(self, session: _Named) -> None:
        if session.expiry is not None:
            session.expiry.cancel()
        if self._sessions.get(session.id) is session:  # else it was deleted, and its id may be another's by now
            del self._sessions[session.id]
            self._directory.release(session.id)
            self._pool.discard(session.worker)

    def _entry(self, session: _Named) -> SessionEntry:
        return SessionEntry(
            id=session.id,
            owner=session.owner,
            busy=session.busy,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_after_s=session.idle_s,
        )
