"""Several engines, each a fake: what they answer is scripted, time passes when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, cast

import pytest

from app.errors import SandboxStartError
from app.sandbox.docker.engines import Engines
from app.sandbox.pool import Pool
from app.sandbox.worker.worker import Worker
from tests.fakes.worker import FakeWorker

GiB = 1 << 30


class EngineWorker(FakeWorker):
    """One that can be given up, and tells when it is closed."""

    on_closed: Callable[[Any], None] | None = None

    def give_up(self, why: str) -> None:
        self.die()

    async def close(self) -> None:
        await super().close()
        if self.on_closed is not None:
            self.on_closed(self)


class FakeEngine:
    """Answers while ``answers``; starts fail while ``breaks``; ``gate`` holds starts back."""

    name = "docker"

    def __init__(self, address: str, *, local: bool = True, memory: int = 4 * GiB) -> None:
        self.address, self.is_local, self.memory = address, local, memory
        self.answers = True
        self.breaks = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.workers: list[EngineWorker] = []
        self.sweeps = self.surveys = self.attempts = 0
        self.closed = False

    def describe(self) -> str:
        return f"fake at {self.address}"

    async def survey(self) -> int:
        self.surveys += 1
        await asyncio.sleep(0)
        self._check()
        return self.memory

    async def sweep(self) -> list[str]:
        self._check()
        self.sweeps += 1
        return []

    async def start(self) -> Worker:
        self.attempts += 1
        await self.gate.wait()
        self._check()
        if self.breaks:
            raise SandboxStartError("no such image")
        worker = EngineWorker(id=f"{self.address}-{self.attempts}")
        self.workers.append(worker)
        return cast(Worker, worker)

    async def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if not self.answers:
            raise SandboxStartError(f"{self.address} does not answer")


class Back:
    """Back-off that lasts until the test lets it end."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._waiting: list[asyncio.Event] = []

    async def __call__(self, delay: float) -> None:
        self.delays.append(delay)
        event = asyncio.Event()
        self._waiting.append(event)
        await event.wait()

    def let_end(self) -> None:
        for event in self._waiting:
            event.set()
        self._waiting.clear()


class Farm:
    """Some engines, and what is above them."""

    def __init__(self, *fakes: FakeEngine, limit: int | None = None, watch_every_s: float = 3600) -> None:
        self.fakes = fakes
        self.back = Back()
        self.engines = Engines(
            fakes, limit=limit, memory_bytes=GiB, sleep=self.back, jitter=lambda: 1.0, watch_every_s=watch_every_s
        )

    async def __aenter__(self) -> "Farm":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.engines.close()
        assert all(fake.closed for fake in self.fakes)

    async def start(self) -> EngineWorker:
        async with asyncio.timeout(5):
            return cast(EngineWorker, await self.engines.start())

    async def all_up(self) -> None:
        """Engines are looked at from the first start on."""
        await (await self.start()).close()
        await until(lambda: all(engine.up for engine in self.engines.statistics()))

    def sandboxes(self) -> list[int]:
        return [engine.sandboxes for engine in self.engines.statistics()]

    def up(self) -> list[bool]:
        return [engine.up for engine in self.engines.statistics()]


@asynccontextmanager
async def pool_over(farm: Farm, *, warm: int, limit: int) -> AsyncIterator[Pool]:
    async with Pool(farm.engines, warm=warm, limit=limit, has_room=farm.engines.has_room, jitter=lambda: 0.0) as pool:
        farm.engines.on_room = pool.look_again
        yield pool


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


async def test_sandboxes_go_where_the_least_full_engine_is() -> None:
    async with Farm(FakeEngine("a", memory=2 * GiB), FakeEngine("b", memory=6 * GiB)) as farm:
        await farm.all_up()
        for _ in range(8):
            await farm.start()
        assert farm.sandboxes() == [2, 6]
        assert [engine.limit for engine in farm.engines.statistics()] == [2, 6]


async def test_starts_under_way_count_when_the_next_is_placed() -> None:
    async with Farm(FakeEngine("a"), FakeEngine("b")) as farm, asyncio.TaskGroup() as tasks:
        await farm.all_up()
        for fake in farm.fakes:
            fake.gate.clear()
        for _ in range(4):
            tasks.create_task(farm.start())
        await until(lambda: farm.sandboxes() == [2, 2])
        for fake in farm.fakes:
            fake.gate.set()


async def test_a_setting_limits_every_engine_and_a_closed_sandbox_makes_room() -> None:
    async with Farm(FakeEngine("a"), FakeEngine("b"), limit=1) as farm:
        await farm.all_up()
        first, _ = await farm.start(), await farm.start()
        assert not farm.engines.has_room()
        waiting = asyncio.ensure_future(farm.start())
        await until(lambda: bool(farm.fakes[0].surveys))
        assert not waiting.done()
        await first.close()
        assert (await waiting).id.startswith("a-")
        assert farm.sandboxes() == [1, 1]


async def test_one_engine_alone_has_no_limit_but_the_pools() -> None:
    async with Farm(FakeEngine("a", memory=GiB)) as farm:
        for _ in range(5):
            await farm.start()
        assert farm.sandboxes() == [5]
        assert farm.engines.describe() == "fake at a"


async def test_an_engine_that_fails_is_passed_over_and_comes_back_by_itself() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")
    async with Farm(a, b) as farm:
        await farm.all_up()
        a.answers = False
        assert [(await farm.start()).id[0] for _ in range(4)] == ["b"] * 4
        assert farm.up() == [False, True]
        (state, _) = farm.engines.statistics()
        assert (state.outages, state.failed_starts, state.error) == (1, 1, "a does not answer")
        a.answers = True
        await until(lambda: len(farm.back.delays) == 1)
        farm.back.let_end()
        await until(lambda: farm.up() == [True, True])
        assert (await farm.start()).id.startswith("a-")
        assert a.sweeps == 2  # at the start, and of what was left over in the outage


async def test_an_engine_that_stays_away_is_asked_less_and_less_often() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")
    a.answers = False
    async with Farm(a, b) as farm:
        await farm.start()
        for asked in range(1, 9):
            await until(lambda n=asked: len(farm.back.delays) == n)  # type: ignore[misc]
            farm.back.let_end()
        assert farm.back.delays == [1, 2, 4, 8, 15, 15, 15, 15]


async def test_an_engine_that_answers_but_starts_nothing_keeps_its_back_off() -> None:
    a, b = FakeEngine("a", memory=8 * GiB), FakeEngine("b")
    async with Farm(a, b) as farm:
        await farm.all_up()
        a.breaks = True
        for asked in range(1, 5):
            await farm.start()
            await until(lambda n=asked: len(farm.back.delays) == n)  # type: ignore[misc]
            farm.back.let_end()
            await until(lambda: farm.up() == [True, True])
        assert farm.back.delays == [1, 2, 4, 8]
        assert farm.sandboxes() == [0, 4]


async def test_an_engine_found_silent_by_its_watch_goes_out_before_anybody_has_to_wait_for_it() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")
    async with Farm(a, b, watch_every_s=0.001) as farm:
        await farm.all_up()
        a.answers = False
        await asyncio.wait_for(a_is_out(farm), 5)
        attempts = a.attempts
        assert (await farm.start()).id.startswith("b-")
        assert a.attempts == attempts


async def a_is_out(farm: Farm) -> None:
    while farm.up()[0]:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("local", [True, False])
async def test_sandboxes_of_a_silent_engine_are_lost_unless_it_is_on_this_machine(local: bool) -> None:
    a, b = FakeEngine("a", local=local, memory=8 * GiB), FakeEngine("b")
    async with Farm(a, b) as farm:
        await farm.all_up()
        session = await farm.start()
        assert session.id.startswith("a-")
        a.answers = False
        while farm.up()[0]:
            await farm.start()
        for unanswered in range(2):  # after the start that failed
            await until(lambda n=unanswered: len(farm.back.delays) == n + 1)  # type: ignore[misc]
            assert session.death is None
            farm.back.let_end()
        await until(lambda: len(farm.back.delays) == 3)
        assert (session.death is None) is local
        await session.close()
        assert farm.engines.statistics()[0].lost == (0 if local else 1)


async def test_an_engine_that_answers_in_between_loses_nothing() -> None:
    a, b = FakeEngine("a", local=False, memory=8 * GiB), FakeEngine("b")
    async with Farm(a, b) as farm:
        await farm.all_up()
        session = await farm.start()
        for outage in range(2):
            a.answers = False
            while farm.up()[0]:
                await farm.start()
            for asked in range(2):
                await until(lambda n=2 * outage + asked: len(farm.back.delays) == n + 1)  # type: ignore[misc]
                a.answers = asked == 1
                farm.back.let_end()
            await until(lambda: farm.up() == [True, True])
        assert session.death is None


async def test_an_engine_that_starts_a_sandbox_again_is_trusted_as_before() -> None:
    a, b = FakeEngine("a", memory=80 * GiB), FakeEngine("b")
    async with Farm(a, b) as farm:
        await farm.all_up()
        for outage in range(1, 3):
            a.breaks = True
            await farm.start()
            await until(lambda n=outage: len(farm.back.delays) == n)  # type: ignore[misc]
            a.breaks = False
            farm.back.let_end()
            await until(lambda: farm.up() == [True, True])
            assert (await farm.start()).id.startswith("a-")
        assert farm.back.delays == [1, 1]


async def test_a_caller_is_served_in_the_moment_in_which_an_engine_comes_back() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")
    a.answers = False
    async with Farm(a, b, limit=1) as farm, pool_over(farm, warm=1, limit=4) as pool:
        assert (await pool.acquire(5)).id.startswith("b-")
        waiting = asyncio.ensure_future(pool.acquire(5))
        await until(lambda: pool.statistics().waiting == 1 and pool.statistics().starting == 0)
        a.answers = True
        await until(lambda: bool(farm.back.delays))
        farm.back.let_end()
        assert (await waiting).id.startswith("a-")


async def test_when_no_engine_answers_that_is_told_once_and_then_waited_for() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")
    a.answers = b.answers = False
    async with Farm(a, b) as farm:
        with pytest.raises(SandboxStartError, match="a does not answer; b: b does not answer"):
            await farm.start()
        waiting = asyncio.ensure_future(farm.start())
        await until(lambda: len(farm.back.delays) == 2)
        assert not waiting.done()
        b.answers = True
        farm.back.let_end()
        assert (await waiting).id.startswith("b-")


async def test_engines_are_known_by_their_addresses() -> None:
    with pytest.raises(ValueError, match="each once: a, a"):
        Engines([FakeEngine("a"), FakeEngine("a")], limit=None, memory_bytes=GiB)
    with pytest.raises(ValueError, match="none is"):
        Engines([], limit=None, memory_bytes=GiB)


async def test_a_backend_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    a, b = FakeEngine("a"), FakeEngine("b")

    async def fail() -> None:
        a.closed = True
        raise OSError("disk full")

    a.close = fail  # type: ignore[method-assign]
    async with Farm(a, b):
        pass


async def test_a_pool_serves_on_while_one_engine_is_away_and_uses_it_again_after() -> None:
    a, b = FakeEngine("a", memory=2 * GiB), FakeEngine("b", memory=2 * GiB)
    async with Farm(a, b) as farm, pool_over(farm, warm=2, limit=4) as pool:
        await until(lambda: pool.statistics().warm == 2)
        a.answers = False
        for worker in list(a.workers):
            worker.die()
        for _ in range(5):
            async with pool.checkout(5) as served:
                assert served.id.startswith("b-")
        a.answers = True
        await until(lambda: bool(farm.back.delays))
        farm.back.let_end()
        await until(lambda: farm.up() == [True, True])
        held = [await pool.acquire(5) for _ in range(4)]
        assert {worker.id[0] for worker in held} == {"a", "b"}


async def test_a_caller_waits_for_room_on_an_engine_and_spare_sessions_make_some() -> None:
    async with Farm(FakeEngine("a"), FakeEngine("b"), limit=1) as farm, pool_over(farm, warm=1, limit=10) as pool:
        held = [await pool.acquire(5), await pool.acquire(5)]
        assert pool.shortage() == []
        pool.on_shortage = lambda: pool.discard(held[0])
        third = await pool.acquire(5)
        assert third.id[0] == held[0].id[0]
        assert farm.sandboxes() == [1, 1]
