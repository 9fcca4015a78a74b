from __future__ import annotations

import asyncio

import pytest

from app.store.database import Store
from app.store.idempotency import KeyRecord
from tests.store.conftest import Clock


@pytest.fixture(autouse=True)
async def alive(store: Store) -> None:
    await store.instances.beat("g", lease_s=1000)


async def claim(store: Store, fingerprint: str = "f") -> KeyRecord | None:
    return await store.idempotency_keys.claim("k", owner="a", instance="g", fingerprint=fingerprint, ttl_s=60)


async def test_of_many_at_once_one_gets_the_key(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        claims = [tasks.create_task(claim(store)) for _ in range(8)]
    results = [task.result() for task in claims]
    assert results.count(None) == 1
    assert results.count(KeyRecord("f", "running", None, None)) == 7


async def test_what_became_of_it_is_told_until_it_expires(store: Store, clock: Clock) -> None:
    keys = store.idempotency_keys
    assert await claim(store) is None
    await keys.answer("k", owner="a", status=200, body=b"{\x00\xff}")
    assert await claim(store, "other") == KeyRecord("f", "answered", 200, b"{\x00\xff}")
    clock.now += 60
    assert await claim(store, "other") is None
    await keys.spend("k", owner="a")
    assert await claim(store) == KeyRecord("other", "spent", None, None)


async def test_a_released_key_is_free(store: Store) -> None:
    assert await claim(store) is None
    await store.idempotency_keys.release("k", owner="a")
    assert await claim(store) is None


async def test_purging_frees_only_what_has_expired(store: Store, clock: Clock) -> None:
    assert await claim(store) is None
    await store.purge()
    assert await claim(store) is not None
    clock.now += 60
    await store.purge()
    clock.now -= 60
    assert await claim(store) is None


async def test_what_a_gateway_ran_when_it_died_is_spent(store: Store, clock: Clock) -> None:
    keys = store.idempotency_keys
    await store.instances.beat("dead", lease_s=30)
    for key, instance in (("its", "dead"), ("another's", "alive"), ("answered", "dead")):
        assert await keys.claim(key, owner="a", instance=instance, fingerprint="f", ttl_s=60) is None
    await keys.answer("answered", owner="a", status=200, body=b"{}")

    async def states() -> list[str | None]:
        found = [
            await keys.claim(key, owner="a", instance="alive", fingerprint="f", ttl_s=60)
            for key in ("its", "another's", "answered")
        ]
        return [record and record.state for record in found]

    await store.instances.beat("alive", lease_s=30)
    assert await states() == ["running", "running", "answered"]
    clock.now += 20
    await store.instances.beat("alive", lease_s=30)
    clock.now += 10
    assert await states() == ["spent", "running", "answered"]
