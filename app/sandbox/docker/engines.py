"""Several Docker Engines as one backend: where the next sandbox goes, and which engines are in service.

Theory of operation
-------------------
Each engine has a *watch*, a task that asks it how it is: now and then while it is in service, with back-off while it
is out. An engine starts out of service. It comes in when it has answered, and when what dead gateways have left on it
is removed. It goes out when it does not answer, or when a sandbox could not be started on it. ``start`` puts a sandbox
on the engine in service that is least full, and on the next one if that fails.

Engines are told apart by their addresses. Two on one machine have the same id and the same hostname.

A sandbox lives as long as its stream, whatever its engine's API does: an engine that restarts in a moment costs nobody
a session. Streams to another machine can be dead without a sign; so the sandboxes of an engine that is not on this one
are lost when it has not answered twice in a row.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from app.errors import SandboxStartError
from app.sandbox.backend import Backend
from app.sandbox.worker.worker import Worker

log = logging.getLogger(__name__)

_BACK_OFF_S: Final = (0.5, 15.0)
#: Between two questions to an engine in service.
_WATCH_EVERY_S: Final = 10.0


class EngineBackend(Backend, Protocol):
    """What is asked of each engine: ``DockerBackend`` has it."""

    @property
    def address(self) -> str: ...

    @property
    def is_local(self) -> bool:
        """Reached without a network: its streams end when it does."""
        ...

    async def survey(self) -> int:
        """The memory of its machine, in bytes.

        Raises:
            SandboxStartError: it does not answer.
        """
        ...

    async def sweep(self) -> list[str]:
        """Remove what is left over. Raises as ``survey``."""
        ...


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """``limit`` is None where there is none, or it is not known yet. ``lost`` counts sandboxes that ended by
    themselves, ``outages`` how often the engine went out of service."""

    address: str
    up: bool
    sandboxes: int
    limit: int | None
    started: int
    failed_starts: int
    lost: int
    outages: int
    error: str | None


@dataclass(slots=True, eq=False)
class _Member:
    backend: EngineBackend
    limit: int | None
    delay_s: float = _BACK_OFF_S[0]
    up: bool = False
    asked: bool = False
    silent: int = 0  # questions without an answer, in a row
    error: str | None = None
    starting: int = 0
    workers: set[Worker] = field(default_factory=set)
    went_out: asyncio.Event = field(default_factory=asyncio.Event)
    started: int = 0
    failed_starts: int = 0
    lost: int = 0
    outages: int = 0

    @property
    def load(self) -> int:
        return self.starting + len(self.workers)

    @property
    def fullness(self) -> float:
        """Of engines without a limit, that with the fewest sandboxes is the least full."""
        return self.load if self.limit is None else self.load / self.limit

    def has_room(self) -> bool:
        return self.up and (self.limit is None or self.load < self.limit)


class Engines:
    """Implements ``Backend``.

    Args:
        limit: sandboxes of one engine; None means as many as fit into its memory, or any number if it is the only one.
        memory_bytes: of one sandbox.
        sleep, jitter, watch_every_s: for tests; jitter gives a factor.
    """

    name = "docker"

    def __init__(
        self,
        backends: Sequence[EngineBackend],
        *,
        limit: int | None,
        memory_bytes: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),  # noqa: S311 - not a secret
        watch_every_s: float = _WATCH_EVERY_S,
    ) -> None:
        addresses = [backend.address for backend in backends]
        if not addresses or len(set(addresses)) < len(addresses):
            raise ValueError(f"engines have to be named, each once: {', '.join(addresses) or 'none is'}")
        #: Called when room may have come.
        self.on_room: Callable[[], None] | None = None
        self._members = [_Member(backend, limit) for backend in backends]
        self._limit_by_memory = limit is None and len(backends) > 1
        self._memory_bytes = memory_bytes
        self._sleep, self._jitter, self._watch_every_s = sleep, jitter, watch_every_s
        self._watches: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._told = False  # that no engine is in service

    def __repr__(self) -> str:
        states = (f"{m.backend.address} {'up' if m.up else 'out'} {m.load}/{m.limit or '-'}" for m in self._members)
        return f"<Engines {', '.join(states)}>"

    def describe(self) -> str:
        """See ``Backend.describe``."""
        first, *others = [member.backend for member in self._members]
        if not others:
            return first.describe()
        return f"{first.describe()}; likewise on {', '.join(backend.address for backend in others)}"

    def statistics(self) -> list[EngineStatistics]:
        return [
            EngineStatistics(
                address=member.backend.address,
                up=member.up,
                sandboxes=member.load,
                limit=member.limit,
                started=member.started,
                failed_starts=member.failed_starts,
                lost=member.lost,
                outages=member.outages,
                error=member.error,
            )
            for member in self._members
        ]

    def has_room(self) -> bool:
        """False while every engine in service is full. If none is in service, ``start`` is where to wait for one."""
        return any(member.has_room() for member in self._members) or not any(member.up for member in self._members)

    async def start(self) -> Worker:
        """See ``Backend.start``. Waits while all engines in service are full, or none is and that was said before.

        Raises:
            SandboxStartError: no engine could, or none answers. The latter is told once; who calls again waits.
        """
        if not self._watches:
            self._watches = [asyncio.create_task(self._watch(member)) for member in self._members]
        failure: SandboxStartError | None = None
        while True:
            member = min(
                (member for member in self._members if member.has_room()),
                key=lambda member: member.fullness,
                default=None,
            )
            if member is None:
                if failure is not None:
                    raise failure
                await self._wait_for_room()
                continue
            try:
                return await self._start_on(member)
            except SandboxStartError as error:
                failure = error

    async def close(self) -> None:
        """See ``Backend.close``."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches.clear()
        for member in self._members:
            try:
                await member.backend.close()
            except Exception:  # the others are to be closed all the same
                log.exception("the backend on %s could not be closed", member.backend.address)

    # ----------------------------------------------------------------- placement

    async def _start_on(self, member: _Member) -> Worker:
        member.starting += 1
        try:
            worker = await member.backend.start()
        except SandboxStartError as error:
            member.failed_starts += 1
            self._take_out(member, error)
            raise
        finally:
            member.starting -= 1
        member.started += 1
        member.delay_s = _BACK_OFF_S[0]
        member.workers.add(worker)
        worker.on_closed = self._forget
        return worker

    def _forget(self, worker: Worker) -> None:
        for member in self._members:
            if worker in member.workers:
                member.workers.remove(worker)
                member.lost += worker.death != "closed"
        self._announce()

    async def _wait_for_room(self) -> None:
        if not self._told and all(member.asked and not member.up for member in self._members):
            self._told = True
            reasons = "; ".join(f"{member.backend.address}: {member.error}" for member in self._members)
            raise SandboxStartError(f"no Docker Engine is in service: {reasons}")
        self._changed.clear()
        await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        if self.on_room is not None:
            self.on_room()

    # ----------------------------------------------------------------- engines in and out of service

    async def _watch(self, member: _Member) -> None:
        while True:
            await self._ask(member)
            if member.up:
                try:
                    async with asyncio.timeout(self._watch_every_s):
                        await member.went_out.wait()
                except TimeoutError:
                    continue
            await self._sleep(member.delay_s * self._jitter())

    async def _ask(self, member: _Member) -> None:
        try:
            memory = await member.backend.survey()
            if not member.up:
                await member.backend.sweep()
        except Exception as error:  # a watch that ends would leave its engine out for ever
            if not isinstance(error, SandboxStartError):
                log.exception("asking the engine at %s failed", member.backend.address)
            member.silent += 1
            self._take_out(member, error)
            if member.silent >= 2 and not member.backend.is_local:
                self._lose(member)
            return
        member.silent = 0
        if self._limit_by_memory:
            member.limit = max(1, memory // self._memory_bytes)
        if not member.up:
            self._bring_in(member)

    def _bring_in(self, member: _Member) -> None:
        log.info("the engine at %s is in service, limit %s", member.backend.address, member.limit or "none")
        member.up = member.asked = True
        member.error = None
        member.went_out.clear()
        self._told = False
        self._announce()

    def _take_out(self, member: _Member, error: Exception) -> None:
        member.asked = True
        member.error = str(error)
        if member.up:
            member.up = False
            member.outages += 1
            log.warning("the engine at %s is out of service: %s", member.backend.address, error)
        member.delay_s = min(member.delay_s * 2, _BACK_OFF_S[1])
        member.went_out.set()
        self._announce()

    def _lose(self, member: _Member) -> None:
        for worker in list(member.workers):
            worker.give_up(f"its engine, {member.backend.address}, does not answer")
