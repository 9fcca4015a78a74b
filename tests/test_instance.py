"""A gateway's heartbeat, over a registry of scripted sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest

from app import instance as instance_module
from app.errors import SessionElsewhere, StorageError
from app.instance import Instance
from app.sandbox.registry import SessionRegistry
from app.store.database import Store, open_store
from tests.sandbox.test_pool import fake_pool
from tests.store.conftest import Clock


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    async with open_store("sqlite+aiosqlite://", clock=clock) as store:
        yield store


@asynccontextmanager
async def gateway(store: Store) -> AsyncIterator[tuple[Instance, SessionRegistry]]:
    instance = Instance(store)
    async with (
        instance.alive(),
        fake_pool(warm=1, limit=4) as (pool, _),
        SessionRegistry(pool, idle_s=60, limit=4, directory=instance) as registry,
    ):
        yield instance, registry


async def holder(store: Store, id: str) -> str | None:
    found = await store.sessions.find(id, owner="a")
    return found and found.instance


async def test_a_session_is_found_elsewhere_as_long_as_it_lives(store: Store) -> None:
    async with gateway(store) as (one, here), gateway(store) as (_, there):
        id = (await here.create(owner="a", deadline_s=5)).id
        for attempt in (there.get, there.delete, there.interrupt):
            with pytest.raises(SessionElsewhere):
                await attempt(id, owner="a")
        with pytest.raises(SessionElsewhere):
            async with there.use(id, owner="a"):
                pytest.fail("used")
        with pytest.raises(SessionElsewhere):
            await there.create(owner="a", deadline_s=5, id=id)
        await here.delete(id, owner="a")
        await one.settle()
        await there.create(owner="a", deadline_s=5, id=id)


async def test_what_has_ended_is_told_at_once(store: Store) -> None:
    async with gateway(store) as (instance, registry):
        beating = asyncio.create_task(instance.keep_alive(registry))
        id = (await registry.create(owner="a", deadline_s=5)).id
        assert await holder(store, id) == instance.id
        await registry.delete(id, owner="a")
        async with asyncio.timeout(instance._beat_s / 2):
            while await holder(store, id) is not None:
                await asyncio.sleep(0)
        beating.cancel()


async def test_a_claim_whose_sandbox_did_not_come_is_given_up(store: Store) -> None:
    async with gateway(store) as (instance, registry):
        for number in range(4):
            await registry.create(owner=str(number), deadline_s=5)
        with pytest.raises(Exception, match=r"busy|in use|no sandbox"):
            await registry.create(owner="a", deadline_s=0.01, id="ses_1")
        await instance.settle()
        assert await holder(store, "ses_1") is None


async def test_a_gateway_that_was_suspended_takes_up_what_nobody_took_and_gives_up_the_rest(
    store: Store, clock: Clock
) -> None:
    async with gateway(store) as (one, here), gateway(store) as (two, there):
        for id in ("ses_1", "ses_2"):
            await here.create(owner="a", deadline_s=5, id=id)
        clock.now += 60
        await two.beat(there)
        await there.create(owner="a", deadline_s=5, id="ses_1")
        assert await holder(store, "ses_2") is None
        await one.beat(here)
        assert not here.is_alive("ses_1", owner="a")
        assert here.is_alive("ses_2", owner="a")
        assert [await holder(store, id) for id in ("ses_1", "ses_2")] == [two.id, one.id]
        await one.beat(here)
        assert await holder(store, "ses_1") == two.id


async def test_rows_that_were_lost_are_made_again(store: Store) -> None:
    async with gateway(store) as (instance, registry):
        await registry.create(owner="a", deadline_s=5, id="ses_1")
        await store.instances.leave(instance.id)
        await instance.beat(registry)
        assert await holder(store, "ses_1") == instance.id


async def test_a_database_that_was_away_is_told_later(store: Store) -> None:
    async with gateway(store) as (instance, registry):
        await registry.create(owner="a", deadline_s=5, id="ses_1")
        with patch.object(store.sessions, "release", side_effect=StorageError("away")):
            await registry.delete("ses_1", owner="a")
            with pytest.raises(StorageError):
                await instance.settle()
        await instance.beat(registry)
        assert await holder(store, "ses_1") is None


async def test_a_gateway_that_ends_leaves_nothing(store: Store) -> None:
    async with gateway(store) as (instance, registry):
        await registry.create(owner="a", deadline_s=5, id="ses_1")
    assert await store.sessions.held_by(instance.id) == set()
    assert await holder(store, "ses_1") is None


async def test_a_database_that_does_not_answer_does_not_keep_it_from_ending(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(id: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(instance_module, "LEAVE_S", 0.001)
    monkeypatch.setattr(store.instances, "leave", never)
    async with asyncio.timeout(5), gateway(store):
        pass
