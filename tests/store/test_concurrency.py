"""Several requests, and several gateways, at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.store.database import Store, open_store

AT_ONCE = 12


async def test_of_claims_at_once_one_wins(store: Store) -> None:
    claims = await asyncio.gather(
        *(
            store.idempotency_keys.claim("key", owner="a", instance="g", fingerprint="f", ttl_s=60)
            for _ in range(AT_ONCE)
        )
    )
    assert sum(claim is None for claim in claims) == 1


async def test_the_same_hidden_calls_can_be_put_at_once(store: Store) -> None:
    keys = ["one", "two", "three"]
    async with asyncio.TaskGroup() as tasks:
        for number in range(AT_ONCE):
            tasks.create_task(
                store.hidden_calls.put(keys[number % 3 :] + keys[: number % 3], number, owner="a", ttl_s=60)
            )
    found = await store.hidden_calls.find(keys, owner="a")
    assert set(found) == set(keys)
    assert len(set(found.values())) == 1


async def test_the_same_file_can_be_put_at_once(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        putting = [
            tasks.create_task(
                store.container_files.put(str(number), owner="a", container_id="c", path="/x", bytes=1, source="user")
            )
            for number in range(AT_ONCE)
        ]
    assert len({task.result().id for task in putting}) == 1


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_gateways_can_start_at_once(url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(open_store(url)) for _ in range(AT_ONCE)))
        for store in stores:
            assert await store.files.get("file-1", owner="a") is None
