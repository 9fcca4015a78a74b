"""The pool over a backend whose starts are forks: on demand, and with owners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import SandboxStartError
from app.sandbox.pool import Pool
from app.sandbox.worker.worker import Worker
from tests.sandbox.test_pool import Clock, FakeBackend, until


class ForkingBackend(FakeBackend):
    """A worker is its owner's; that of nobody becomes the first's who may have it."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__(failures)
        self.is_quick = True
        self.owners: dict[Worker, str | None] = {}

    async def start(self, owner: str | None = None) -> Worker:
        worker = await super().start()
        self.owners[worker] = owner
        return worker

    def may_serve(self, worker: Worker, owner: str) -> bool:
        if self.owners[worker] is None:
            self.owners[worker] = owner
        return self.owners[worker] == owner


@asynccontextmanager
async def forking_pool(
    *, warm: int = 1, limit: int = 8, failures: int = 0, clock: Clock | None = None
) -> AsyncIterator[tuple[Pool, ForkingBackend]]:
    async with ForkingBackend(failures) as backend:
        async with Pool(
            backend, warm=warm, limit=limit, forking=backend, sleep=clock or Clock(), jitter=lambda: 1.0
        ) as pool:
            yield pool, backend
        assert backend.alive == {}


async def at_rest(pool: Pool, backend: ForkingBackend) -> None:
    """Something is on the shelf, for the owner that came last, and nothing on its way."""
    await until(backend, lambda: pool.statistics().warm > 0 and not pool.statistics().starting)


async def test_callers_for_whom_nothing_is_ready_get_forks_at_once() -> None:
    async with forking_pool(limit=30) as (pool, backend), asyncio.TaskGroup() as tasks:
        await until(backend, lambda: pool.statistics().warm == 1)
        backend.gate.clear()
        callers = [tasks.create_task(pool.acquire(5)) for _ in range(6)]
        await until(backend, lambda: pool.statistics().starting == 6)  # five, and the next to be kept ready
        backend.gate.set()
        workers = await asyncio.gather(*callers)
        assert len(set(workers)) == 6


async def test_a_flood_of_callers_starts_no_flood_of_forks() -> None:
    async with forking_pool(limit=50) as (pool, backend), asyncio.TaskGroup() as tasks:
        backend.gate.clear()
        callers = [tasks.create_task(pool.acquire(5)) for _ in range(40)]
        await until(backend, lambda: pool.statistics().waiting == 40)
        assert pool.statistics().starting <= 9
        backend.gate.set()
        assert len(set(await asyncio.gather(*callers))) == 40


async def test_until_starts_are_quick_no_more_are_under_way_than_are_kept_ready() -> None:
    async with forking_pool(warm=2, limit=50) as (pool, backend), asyncio.TaskGroup() as tasks:
        backend.is_quick = False
        backend.gate.clear()
        callers = [tasks.create_task(pool.acquire(5)) for _ in range(5)]
        await until(backend, lambda: pool.statistics().waiting == 5)
        assert pool.statistics().starting == 2
        backend.gate.set()
        await asyncio.gather(*callers)


async def test_nobody_gets_what_is_another_owners() -> None:
    async with forking_pool() as (pool, backend):
        first = await pool.acquire(5, owner="a")
        await at_rest(pool, backend)
        other = await pool.acquire(5, owner="b")
        again = await pool.acquire(5, owner="a")
        assert [backend.owners[worker] for worker in (first, other, again)] == ["a", "b", "a"]


async def test_what_is_ready_for_others_makes_room_at_the_limit() -> None:
    async with forking_pool(limit=2) as (pool, backend):
        await until(backend, lambda: pool.statistics().warm == 1)
        await pool.acquire(5, owner="a")
        await at_rest(pool, backend)
        worker = await pool.acquire(5, owner="b")
        assert backend.owners[worker] == "b"
        assert pool.statistics().busy == 2


async def test_a_fork_whose_caller_has_left_is_kept_only_where_one_is_missing() -> None:
    async with forking_pool() as (pool, backend):
        await until(backend, lambda: pool.statistics().warm == 1)
        await pool.acquire(5, owner="a")
        await at_rest(pool, backend)
        backend.gate.clear()
        caller = asyncio.ensure_future(pool.acquire(5, owner="b"))
        await until(backend, lambda: pool.statistics().starting == 1)
        caller.cancel()
        backend.gate.set()
        await until(backend, lambda: pool.statistics().closing == 1)
        await until(backend, lambda: pool.statistics().closing == 0)
        assert (pool.statistics().warm, len(backend.alive)) == (1, 2)


async def test_a_fork_that_fails_is_tried_again_as_long_as_its_caller_waits() -> None:
    clock = Clock()
    async with forking_pool(clock=clock) as (pool, backend):
        await pool.acquire(5, owner="a")
        await at_rest(pool, backend)
        backend.failures = 2
        assert backend.owners[await pool.acquire(5, owner="b")] == "b"
        assert clock.slept == [0.1, 0.2]


async def test_who_waits_for_forks_that_fail_is_told_why() -> None:
    async with forking_pool(clock=Clock(most=1)) as (pool, backend):
        await pool.acquire(5, owner="a")
        await at_rest(pool, backend)
        backend.failures = 1000
        with pytest.raises(SandboxStartError, match="no user namespaces"):
            await pool.acquire(1, owner="b")
