"""Which gateways are alive, and where sessions live."""

from __future__ import annotations

import asyncio

from app.store.database import Store
from app.store.instances import FORGOTTEN_AFTER_S
from tests.store.conftest import Clock


async def claim(store: Store, instance: str, id: str = "ses_1") -> str | None:
    return await store.sessions.claim(id, owner="a", instance=instance, idle_s=60)


async def test_a_session_lives_in_one_gateway_until_it_ends_or_that_dies(store: Store, clock: Clock) -> None:
    for instance in ("one", "two"):
        await store.instances.beat(instance, lease_s=30)
    assert await claim(store, "one") is None
    assert await claim(store, "two") == "one"
    assert await claim(store, "one") is None
    await store.sessions.release({"ses_1"}, instance="two")  # which does not hold it
    found = await store.sessions.find("ses_1", owner="a")
    assert found is not None
    assert (found.instance, found.created_at, found.idle_s) == ("one", clock.now, 60)
    clock.now += 30
    await store.instances.beat("two", lease_s=30)
    assert await store.sessions.find("ses_1", owner="a") is None
    assert await claim(store, "two") is None
    assert await claim(store, "one") == "two"
    await store.sessions.release({"ses_1"}, instance="two")
    assert await claim(store, "one") is None


async def test_an_id_of_another_owner_is_taken_and_not_shown(store: Store) -> None:
    await store.instances.beat("one", lease_s=30)
    assert await store.sessions.claim("ses_1", owner="b", instance="one", idle_s=60) is None
    assert await claim(store, "two") == "one"
    assert await store.sessions.find("ses_1", owner="a") is None


async def test_of_gateways_that_want_a_session_at_once_one_gets_it(store: Store) -> None:
    names = [str(number) for number in range(8)]
    for name in names:
        await store.instances.beat(name, lease_s=30)
    holders = await asyncio.gather(*(claim(store, name) for name in names))
    assert holders.count(None) == 1
    assert {holder for holder in holders if holder is not None} == {names[holders.index(None)]}


async def test_what_a_gateway_held_ends_with_it(store: Store) -> None:
    await store.instances.beat("one", lease_s=30)
    await claim(store, "one")
    await claim(store, "one", "ses_2")
    assert await store.sessions.held_by("one") == {"ses_1", "ses_2"}
    assert [found.id for found in await store.sessions.list(owner="a")] == ["ses_1", "ses_2"]
    await store.instances.leave("one")
    assert await store.sessions.held_by("one") == set()
    assert await store.sessions.list(owner="a") == []


async def test_what_was_dead_for_long_is_removed(store: Store, clock: Clock) -> None:
    for instance in ("one", "two"):
        await store.instances.beat(instance, lease_s=30)
        await claim(store, instance, instance)
    clock.now += 30 + FORGOTTEN_AFTER_S - 1
    await store.instances.beat("two", lease_s=30)
    await store.purge()
    assert await store.sessions.held_by("one") == {"one"}
    clock.now += 1
    await store.purge()
    assert await store.sessions.held_by("one") == set()
    assert await store.sessions.held_by("two") == {"two"}
