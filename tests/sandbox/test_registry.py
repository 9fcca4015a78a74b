"""Named sessions over a pool of scripted sandboxes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import RequestError, SandboxGone, SandboxUnavailable, SessionBusy
from app.sandbox.pool import Pool
from app.sandbox.registry import SessionRegistry
from app.sandbox.worker.states import State
from tests.sandbox.fakes import chunks_of, run
from tests.sandbox.test_pool import Clock, FakeBackend, fake_pool, until


@asynccontextmanager
async def fake_registry(
    *, idle_s: float = 60, limit: int = 3, workers: int = 8
) -> AsyncIterator[tuple[SessionRegistry, FakeBackend]]:
    async with fake_pool(warm=1, limit=workers) as (pool, backend):
        async with SessionRegistry(pool, idle_s=idle_s, limit=limit) as registry:
            yield registry, backend
        assert pool.statistics().busy == 0


async def test_a_session_keeps_its_worker_from_use_to_use() -> None:
    async with fake_registry() as (registry, _):
        id = (await registry.create(owner="a", deadline_s=5)).id
        async with registry.use(id, owner="a") as first:
            assert (await run(first, chunks_of("1\n"))).status == "ok"
            assert (await registry.get(id, owner="a")).busy
        async with registry.use(id, owner="a") as second:
            assert second is first
        assert not (await registry.get(id, owner="a")).busy


async def test_a_session_serves_one_request_at_a_time() -> None:
    async with fake_registry() as (registry, _):
        id = (await registry.create(owner="a", deadline_s=5)).id
        async with registry.use(id, owner="a"):
            with pytest.raises(SessionBusy):
                async with registry.use(id, owner="a"):
                    raise AssertionError("not reached")
        async with registry.use(id, owner="a"):
            pass


async def test_a_session_does_not_exist_for_others() -> None:
    async with fake_registry() as (registry, _):
        id = (await registry.create(owner="a", deadline_s=5)).id
        for attempt in (registry.get, registry.delete):
            with pytest.raises(RequestError) as caught:
                await attempt(id, owner="b")
            assert (caught.value.status, caught.value.code) == (404, "session_not_found")
        assert registry.list(owner="b") == []
        assert [entry.id for entry in registry.list(owner="a")] == [id]


async def test_a_deleted_session_is_gone_and_its_worker_closed() -> None:
    async with fake_registry() as (registry, backend):
        id = (await registry.create(owner="a", deadline_s=5)).id
        worker = registry._sessions[id].worker
        await registry.delete(id, owner="a")
        await until(backend, lambda: worker.id not in backend.alive)
        with pytest.raises(RequestError):
            await registry.get(id, owner="a")


async def test_deleting_a_session_in_use_ends_its_execution() -> None:
    async with fake_registry() as (registry, _):
        id = (await registry.create(owner="a", deadline_s=5)).id
        async with registry.use(id, owner="a") as worker:
            await registry.delete(id, owner="a")
            await asyncio.sleep(0)
            with pytest.raises(SandboxGone):
                await run(worker, chunks_of("1\n"))
        assert registry.list(owner="a") == []


async def test_a_session_in_use_can_be_interrupted_by_its_owner() -> None:
    async with fake_registry() as (registry, backend), asyncio.TaskGroup() as tasks:
        id = (await registry.create(owner="a", deadline_s=5)).id
        backend.silent = True
        async with registry.use(id, owner="a") as worker:
            running = tasks.create_task(run(worker, chunks_of("1\n")))
            await until(backend, lambda: worker.state is State.EXECUTING)
            with pytest.raises(RequestError):
                await registry.interrupt(id, owner="b")
            await registry.interrupt(id, owner="a")
            assert (await running).status == "interrupted"
        await registry.interrupt(id, owner="a")


async def test_an_idle_session_expires_and_one_in_use_does_not() -> None:
    async with fake_registry(idle_s=0.02) as (registry, backend):
        used = (await registry.create(owner="a", deadline_s=5)).id
        async with registry.use(used, owner="a"):
            idle = (await registry.create(owner="a", deadline_s=5)).id
            expired = asyncio.Event()
            asyncio.get_running_loop().call_later(0.05, expired.set)
            await expired.wait()
            assert [entry.id for entry in registry.list(owner="a")] == [used]
        assert registry.statistics().expired == 1
        with pytest.raises(RequestError):
            async with registry.use(idle, owner="a"):
                raise AssertionError("not reached")
        await until(backend, lambda: len(backend.alive) <= 2)


async def test_too_many_sessions_displace_the_one_unused_for_longest() -> None:
    async with fake_registry(limit=2) as (registry, _):
        first = (await registry.create(owner="a", deadline_s=5)).id
        second = (await registry.create(owner="a", deadline_s=5)).id
        other = (await registry.create(owner="b", deadline_s=5)).id
        async with registry.use(first, owner="a"):
            pass
        third = (await registry.create(owner="a", deadline_s=5)).id
        assert [entry.id for entry in registry.list(owner="a")] == [first, third]
        assert [entry.id for entry in registry.list(owner="b")] == [other]
        assert second not in (first, third)
        async with registry.use(first, owner="a"), registry.use(third, owner="a"):
            with pytest.raises(SandboxUnavailable):
                await registry.create(owner="a", deadline_s=5)


async def test_a_session_whose_sandbox_died_is_reported_once_and_removed() -> None:
    async with fake_registry() as (registry, backend):
        id = (await registry.create(owner="a", deadline_s=5)).id
        worker = registry._sessions[id].worker
        await backend.alive[worker.id].send(9, b"")
        await until(backend, lambda: worker.death is not None)
        with pytest.raises(SandboxGone, match=id):
            async with registry.use(id, owner="a"):
                raise AssertionError("not reached")
        with pytest.raises(RequestError):
            await registry.get(id, owner="a")


async def test_leaving_the_registry_closes_every_session() -> None:
    async with fake_pool(warm=1, limit=4) as (pool, backend):
        async with SessionRegistry(pool, idle_s=60, limit=4) as registry:
            await registry.create(owner="a", deadline_s=5)
            await registry.create(owner="b", deadline_s=5)
        await until(backend, lambda: pool.statistics().discarded == 2)
        assert registry.statistics().sessions == 0


async def test_spare_sessions_give_way_when_sandboxes_are_short() -> None:
    async with fake_registry(limit=9, workers=2) as (registry, _):
        kept = (await registry.create(owner="a", deadline_s=5)).id
        spare = (await registry.create(owner="a", deadline_s=5, spare=True)).id
        other = (await registry.create(owner="b", deadline_s=5)).id
        assert [entry.id for entry in registry.list(owner="a")] == [kept]
        assert not registry.is_alive(spare, owner="a")
        assert registry.is_alive(other, owner="b")
        with pytest.raises(SandboxUnavailable):
            await registry.create(owner="b", deadline_s=0.01)


async def test_a_spare_session_in_use_gives_way_when_it_is_not_any_more() -> None:
    async with fake_registry(limit=9, workers=1) as (registry, _):
        spare = (await registry.create(owner="a", deadline_s=5, spare=True)).id
        async with asyncio.TaskGroup() as tasks, registry.use(spare, owner="a"):
            waiting = tasks.create_task(registry.create(owner="b", deadline_s=5))
            await asyncio.sleep(0)
            assert registry.is_alive(spare, owner="a")
        assert registry.is_alive(waiting.result().id, owner="b")
        assert not registry.is_alive(spare, owner="a")


async def test_spare_sessions_do_not_count_while_they_are_used() -> None:
    async with fake_registry(limit=1) as (registry, _):
        first = (await registry.create(owner="a", deadline_s=5, spare=True)).id
        async with registry.use(first, owner="a"):
            second = (await registry.create(owner="a", deadline_s=5, spare=True)).id
            async with registry.use(second, owner="a"):
                with pytest.raises(SandboxUnavailable):
                    await registry.create(owner="a", deadline_s=5)
            assert len(registry.list(owner="a")) == 1  # the first is in use, so the second had to go
        assert [entry.id for entry in registry.list(owner="a")] == [first]


async def test_a_deleted_session_that_is_still_in_use_takes_nothing_from_the_next_one_of_its_id() -> None:
    async with fake_registry() as (registry, _):
        await registry.create(owner="a", deadline_s=5, id="ses_named")
        async with registry.use("ses_named", owner="a") as first:
            await registry.delete("ses_named", owner="a")
            await registry.create(owner="a", deadline_s=5, id="ses_named")
        async with registry.use("ses_named", owner="a") as second:
            assert second is not first
            assert (await run(second, chunks_of("1\n"))).status == "ok"


async def test_a_session_can_have_an_id_and_an_idle_time_of_its_own() -> None:
    async with fake_registry(idle_s=60) as (registry, _):
        entry = await registry.create(owner="a", deadline_s=5, id="cntr_1", idle_s=0.01)
        assert (entry.id, entry.expires_after_s) == ("cntr_1", 0.01)
        assert registry.is_alive("cntr_1", owner="a")
        assert not registry.is_alive("cntr_1", owner="b")
        while registry.is_alive("cntr_1", owner="a"):
            await asyncio.sleep(0.001)
        assert registry.statistics().expired == 1


async def test_of_two_that_make_one_session_at_once_the_second_is_refused() -> None:
    async with fake_registry(workers=1) as (registry, _), asyncio.TaskGroup() as tasks:
        held = (await registry.create(owner="a", deadline_s=5)).id
        first = tasks.create_task(registry.create(owner="a", deadline_s=5, id="ses_one"))
        await asyncio.sleep(0)  # it has begun, and waits for a worker
        with pytest.raises(SessionBusy):
            await registry.create(owner="a", deadline_s=0.1, id="ses_one")
        await registry.delete(held, owner="a")
        assert (await first).id == "ses_one"


async def test_who_waits_for_a_session_has_it_when_it_is_free_and_only_one_of_several() -> None:
    async with fake_registry() as (registry, _):
        id = (await registry.create(owner="a", deadline_s=5)).id
        assert await registry.until_free(id, limit_s=0)
        assert await registry.until_free("ses_unknown", limit_s=0)

        async def take() -> bool:
            if not await registry.until_free(id, limit_s=30):
                return False
            async with registry.use(id, owner="a"):
                await asyncio.sleep(0)
            return True

        async with registry.use(id, owner="a"):
            assert not await registry.until_free(id, limit_s=0)
            waiting = [asyncio.create_task(take()) for _ in range(3)]
            await asyncio.sleep(0)
        assert sorted([await task for task in waiting]) == [False, False, True]


async def test_a_session_beyond_the_share_of_its_owner_makes_room_for_who_has_less() -> None:
    async with (
        FakeBackend() as backend,
        Pool(backend, warm=1, limit=4, sleep=Clock(), fraction=lambda owner: 0.5) as pool,
        SessionRegistry(pool, idle_s=60, limit=8) as registry,
        asyncio.timeout(60),
    ):
        hoard = [(await registry.create(owner="hoarder", deadline_s=50)).id for _ in range(3)]
        mine = [(await registry.create(owner="other", deadline_s=50)).id for _ in range(2)]
        assert [entry.id for entry in registry.list(owner="hoarder")] == hoard[1:]
        assert [entry.id for entry in registry.list(owner="other")] == mine
        with pytest.raises(SandboxUnavailable):  # each has its share
            await registry.create(owner="other", deadline_s=0.01)
        assert [entry.id for entry in registry.list(owner="hoarder")] == hoard[1:]
