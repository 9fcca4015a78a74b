"""The pool over a backend whose sandboxes are scripted; time passes when the test says so."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import SandboxStartError, SandboxUnavailable
from app.sandbox.pool import Pool
from app.sandbox.worker.transport import Channel, connect_socket
from app.sandbox.worker.worker import Worker
from tests.sandbox.fakes import FakeSandbox, chunks_of, run


class FakeBackend:
    """Its sandboxes answer every execution with "ok". ``failures`` starts fail first; ``gate`` holds starts back; with
    ``broken`` the next execution fails; ``silent`` ones are only answered when they are interrupted."""

    name = "fake"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts = 0
        self.alive: dict[str, FakeSandbox] = {}
        self.changed = asyncio.Event()
        self.closed = False
        self.broken = False
        self.silent = False
        self.trials: list[bool] = []  # of every execution
        self._answering = asyncio.TaskGroup()

    async def __aenter__(self) -> "FakeBackend":
        await self._answering.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._answering.__aexit__(None, None, None)

    def describe(self) -> str:
        return "no isolation: fake"

    async def start(self) -> Worker:
        self.attempts += 1
        number = self.attempts
        self.changed.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise SandboxStartError("no user namespaces")
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        sandbox = FakeSandbox(theirs)
        id = f"fake-{number}"

        async def kill() -> None:
            ours.close()
            del self.alive[id]
            self.changed.set()

        channel = Channel()
        worker = Worker(channel, id=id, kill=kill)
        self.alive[id] = sandbox
        self._answering.create_task(self._answer(sandbox))
        try:
            await connect_socket(ours, channel)
            await worker.wait_ready(5)
        except BaseException:
            await worker.close()
            raise
        return worker

    async def close(self) -> None:
        self.closed = True

    async def _answer(self, sandbox: FakeSandbox) -> None:
        try:
            await sandbox.ready()
            while True:
                _, payload = await sandbox.next_frame()
                message = json.loads(payload)
                if message["op"] == "interrupt" and self.silent:
                    await sandbox.done(message["id"], ran=0, status="interrupted")
                elif message["op"] == "execute" and not self.silent:
                    self.trials.append(message.get("trial", False))
                    status = "exit" if self.broken else "ok"
                    self.broken = False
                    await sandbox.done(message["id"], ran=len(message["chunks"]), status=status)
        except (EOFError, OSError):
            sandbox.close()


class Clock:
    """Records the sleeps it is asked for and ends them at once, or never."""

    def __init__(self, most: int = 1000) -> None:
        self.slept: list[float] = []
        self.asked = asyncio.Event()
        self._most = most

    async def __call__(self, delay: float) -> None:
        self.slept.append(delay)
        self.asked.set()
        if len(self.slept) >= self._most:
            await asyncio.Event().wait()


@asynccontextmanager
async def fake_pool(
    *, warm: int = 1, limit: int = 4, failures: int = 0, clock: Clock | None = None
) -> AsyncIterator[tuple[Pool, FakeBackend]]:
    async with FakeBackend(failures) as backend:
        async with Pool(backend, warm=warm, limit=limit, sleep=clock or Clock(), jitter=lambda: 1.0) as pool:
            yield pool, backend
        assert backend.closed
        assert backend.alive == {}


async def until(backend: FakeBackend, condition: object) -> None:
    """Wait for a state of the pool that has no event of its own."""
    assert callable(condition)
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


async def test_workers_are_warm_before_anybody_asks() -> None:
    async with fake_pool(warm=3, limit=5) as (pool, backend):
        await until(backend, lambda: pool.statistics().warm == 3)
        assert (backend.attempts, pool.statistics().starting) == (3, 0)
        assert repr(pool) == "<Pool of fake: 3 warm, 0 starting, 0 busy, 0 closing | 0 waiting>"


async def test_a_session_has_a_worker_of_its_own_which_is_closed_after_it() -> None:
    async with fake_pool(warm=1, limit=2) as (pool, backend):
        async with pool.checkout(5) as first:
            assert (await run(first, chunks_of("1\n"))).status == "ok"
        async with pool.checkout(5) as second:
            assert second.id != first.id
        await until(backend, lambda: pool.statistics().closing == 0)
        assert first.death == "closed"
        assert first.id not in backend.alive
        assert pool.statistics().discarded == 2


async def test_a_warm_worker_is_handed_over_while_starts_are_stuck() -> None:
    async with fake_pool(warm=2, limit=4) as (pool, backend):
        await until(backend, lambda: pool.statistics().warm == 2)
        backend.gate.clear()
        first, second = await pool.acquire(5), await pool.acquire(5)
        assert first is not second
        assert pool.statistics().busy == 2
        backend.gate.set()


async def test_when_all_are_in_use_a_caller_is_refused_at_its_deadline() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, backend):
        worker = await pool.acquire(5)
        with pytest.raises(SandboxUnavailable, match="1 are in use"):
            await pool.acquire(0.01)
        assert pool.statistics().waiting == 0
        assert (pool.statistics().timed_out, backend.attempts) == (1, 1)
        pool.discard(worker)
        assert (await pool.acquire(5)).id == "fake-2"


async def test_callers_are_served_in_the_order_in_which_they_came() -> None:
    async with fake_pool(warm=2, limit=2) as (pool, backend):
        held = [await pool.acquire(5), await pool.acquire(5)]
        order: list[int] = []

        async def caller(number: int) -> None:
            worker = await pool.acquire(5)
            order.append(number)
            pool.discard(worker)

        async with asyncio.TaskGroup() as tasks:
            for number in range(10):
                tasks.create_task(caller(number))
                await until(backend, lambda n=number: pool.statistics().waiting == n + 1)
            for worker in held:
                pool.discard(worker)
        assert order == list(range(10))


async def test_the_limit_counts_workers_that_are_being_closed() -> None:
    async with fake_pool(warm=2, limit=2) as (pool, backend):
        for _ in range(20):
            async with pool.checkout(5):
                assert len(backend.alive) <= 2


async def test_a_caller_that_leaves_the_queue_does_not_take_a_worker_with_it() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, backend), asyncio.TaskGroup() as tasks:
        held = await pool.acquire(5)
        leaving = tasks.create_task(pool.acquire(5))
        staying = tasks.create_task(pool.acquire(5))
        await until(backend, lambda: pool.statistics().waiting == 2)
        leaving.cancel()
        pool.discard(held)
        assert (await staying).id == "fake-2"
        assert leaving.cancelled()
        assert pool.statistics().busy == 1


async def test_a_caller_cancelled_in_the_moment_of_the_hand_over_gives_the_worker_back() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, backend), asyncio.TaskGroup() as tasks:
        backend.gate.clear()
        caller = tasks.create_task(pool.acquire(5))
        await until(backend, lambda: pool.statistics().waiting == 1)
        backend.gate.set()
        await until(backend, lambda: pool.statistics().busy == 1)
        caller.cancel()
        worker = await pool.acquire(5)
        assert (worker.id, caller.cancelled()) == ("fake-2", True)


async def test_failed_starts_back_off_and_then_succeed() -> None:
    clock = Clock()
    async with fake_pool(failures=4, clock=clock) as (pool, _):
        worker = await pool.acquire(5)
        assert worker.id == "fake-5"
        assert clock.slept == [0.1, 0.2, 0.4, 0.8]
        assert pool.statistics().failed_starts == 4
        assert pool.last_error is None


async def test_the_back_off_is_bounded_and_jittered() -> None:
    clock = Clock(most=15)
    async with FakeBackend(failures=1000) as backend:
        async with Pool(backend, warm=1, limit=1, sleep=clock, jitter=lambda: 0.5):
            await until(backend, lambda: len(clock.slept) == 15)
        assert clock.slept[:2] == [0.05, 0.1]
        assert clock.slept[-1] == 15.0


async def test_a_caller_is_told_why_no_sandbox_starts() -> None:
    clock = Clock(most=1)
    async with fake_pool(failures=1000, clock=clock) as (pool, _):
        await clock.asked.wait()
        with pytest.raises(SandboxStartError, match="no user namespaces"):
            await pool.acquire(0.01)
        assert pool.last_error == "no user namespaces"


async def test_a_start_that_fails_as_it_may_is_logged_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(most=1)
    async with fake_pool(failures=1000, clock=clock):
        await clock.asked.wait()
    [record] = [record for record in caplog.records if "could not be started" in record.message]
    assert record.message.endswith("next attempt in about 0.1 s: no user namespaces")
    assert not record.exc_info


async def test_a_worker_that_dies_while_it_is_warm_is_replaced() -> None:
    async with fake_pool(warm=1, limit=2) as (pool, backend):
        await until(backend, lambda: pool.statistics().warm == 1)
        await backend.alive["fake-1"].send(9, b"")
        await until(backend, lambda: pool.statistics().died_warm == 1)
        async with pool.checkout(5) as worker:
            assert worker.id == "fake-2"
            assert (await run(worker, chunks_of("1\n"))).status == "ok"


async def test_a_worker_that_dies_in_use_makes_room_before_it_is_given_back() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, backend), pool.checkout(5) as worker:
        await backend.alive[worker.id].send(9, b"")
        assert (await pool.acquire(5)).id == "fake-2"


async def test_a_sandbox_that_fails_its_first_line_is_not_warm() -> None:
    async with FakeBackend() as backend:
        backend.broken = True
        async with Pool(backend, warm=1, limit=2, sleep=Clock()) as pool:
            assert (await pool.acquire(5)).id == "fake-2"
            assert "fake-1" not in backend.alive


async def test_leaving_the_pool_closes_what_is_in_use_and_refuses_who_waits() -> None:
    async with FakeBackend() as backend:
        async with asyncio.TaskGroup() as tasks:

            async def caller() -> None:
                with pytest.raises(SandboxUnavailable, match="shutting down"):
                    await pool.acquire(5)

            async with Pool(backend, warm=1, limit=1) as pool:
                worker = await pool.acquire(5)
                tasks.create_task(caller())
                await until(backend, lambda: pool.statistics().waiting == 1)
        assert worker.death == "closed"
        assert backend.alive == {}
        with pytest.raises(SandboxUnavailable, match="shutting down"):
            await pool.acquire(5)


async def test_leaving_the_pool_ends_a_start_that_is_stuck() -> None:
    async with FakeBackend() as backend:
        backend.gate.clear()
        async with Pool(backend, warm=1, limit=1):
            await backend.changed.wait()
        assert backend.alive == {}


def test_a_pool_that_keeps_more_warm_than_it_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        Pool(FakeBackend.__new__(FakeBackend), warm=2, limit=1)


async def test_however_many_wait_no_more_starts_are_under_way_than_workers_are_kept_warm() -> None:
    async with fake_pool(warm=2, limit=50) as (pool, backend), asyncio.TaskGroup() as tasks:
        backend.gate.clear()
        callers = [tasks.create_task(pool.acquire(5)) for _ in range(20)]
        await until(backend, lambda: backend.attempts == 2)
        await until(backend, lambda: pool.statistics().waiting == 20)
        assert (backend.attempts, pool.statistics().starting) == (2, 2)
        backend.gate.set()
        await asyncio.gather(*callers)


async def test_a_sandbox_that_does_not_answer_its_first_line_is_not_warm() -> None:
    clock = Clock(most=1)
    async with FakeBackend() as backend:
        backend.silent = True
        async with Pool(backend, warm=1, limit=2, patience_s=0.01, sleep=clock) as pool:
            await clock.asked.wait()
            assert backend.alive == {}
            assert pool.statistics().warm == 0
            assert pool.last_error is not None
            assert "fails its first line" in pool.last_error


async def test_a_sandbox_is_told_that_its_first_line_is_of_no_program() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, backend), pool.checkout(5) as worker:
        await run(worker, chunks_of("a = 1\n"))
        assert backend.trials == [True, False]


async def test_a_worker_that_resists_its_end_costs_its_place_for_no_longer_than_that() -> None:
    async with fake_pool(warm=1, limit=1) as (pool, _):
        worker = await pool.acquire(5)

        async def resist() -> None:
            await close()
            raise OSError("device or resource busy")

        close, worker.close = worker.close, resist  # type: ignore[method-assign]
        pool.discard(worker)
        assert (await pool.acquire(5)).id == "fake-2"
        assert pool.statistics().closing == 0


async def test_nothing_is_started_while_the_backend_has_no_room_and_at_once_when_it_has() -> None:
    room = False
    async with FakeBackend() as backend, Pool(backend, warm=1, limit=2, has_room=lambda: room, sleep=Clock()) as pool:
        with pytest.raises(SandboxUnavailable):
            await pool.acquire(0.01)
        assert backend.attempts == 0
        room = True
        pool.look_again()
        assert (await pool.acquire(5)).id == "fake-1"


async def test_one_who_waits_without_room_anywhere_asks_for_a_session_that_can_be_spared() -> None:
    asked = 0

    def spare() -> None:
        nonlocal asked
        asked += 1

    async with FakeBackend() as backend, Pool(backend, warm=1, limit=2, has_room=lambda: False, sleep=Clock()) as pool:
        pool.on_shortage = spare
        with pytest.raises(SandboxUnavailable):
            await pool.acquire(0.01)
        assert asked == 1


# ------------------------------------------------------------------- shares


async def test_who_comes_while_another_owner_waits_in_a_crowd_is_served_first() -> None:
    async with (
        FakeBackend() as backend,
        asyncio.TaskGroup() as tasks,
        Pool(backend, warm=1, limit=8, sleep=Clock(), fraction=lambda owner: 0.5) as pool,
        asyncio.timeout(60),
    ):
        held = [await pool.acquire(50, owner="flood") for _ in range(6)]
        flood = [tasks.create_task(pool.acquire(50, owner="flood")) for _ in range(20)]
        await until(backend, lambda: pool.statistics().waiting == 20)
        for _ in range(2):  # what is kept for others
            await pool.acquire(50, owner="calm")
        late = tasks.create_task(pool.acquire(50, owner="calm"))
        await until(backend, lambda: pool.statistics().waiting == 21)
        pool.discard(held.pop())
        await late
        assert pool.statistics().waiting == 20
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_a_caller_is_told_what_is_being_started() -> None:
    async with FakeBackend() as backend:
        backend.gate.clear()
        async with Pool(backend, warm=1, limit=1, sleep=Clock()) as pool:
            await backend.changed.wait()
            with pytest.raises(SandboxUnavailable, match=r"1 being started \(for \d+ s; 0 more wait .* load is"):
                await pool.acquire(0.01)
            backend.gate.set()
            await pool.acquire(5)
