from __future__ import annotations

from app.store.database import Store
from tests.store.conftest import Clock


async def test_they_are_found_by_each_visible_call_as_often_as_clients_resend(store: Store) -> None:
    await store.hidden_calls.put(["call_a", "call_b", "call_a"], {"x": 1}, owner="a", ttl_s=60)
    for _ in range(2):
        assert await store.hidden_calls.find(["call_b", "call_z"], owner="a") == {"call_b": {"x": 1}}
    assert await store.hidden_calls.find([], owner="a") == {}


async def test_a_reused_id_gets_the_new_value(store: Store) -> None:
    await store.hidden_calls.put(["call_a"], 1, owner="a", ttl_s=60)
    await store.hidden_calls.put(["call_a"], 2, owner="a", ttl_s=60)
    await store.hidden_calls.put([], 3, owner="a", ttl_s=60)
    assert await store.hidden_calls.find(["call_a"], owner="a") == {"call_a": 2}


async def test_they_are_forgotten_in_time_purged_or_not(store: Store, clock: Clock) -> None:
    await store.hidden_calls.put(["old"], 1, owner="a", ttl_s=60)
    clock.now += 59
    await store.hidden_calls.put(["new"], 2, owner="a", ttl_s=60)
    assert await store.hidden_calls.find(["old", "new"], owner="a") == {"old": 1, "new": 2}
    clock.now += 1
    assert await store.hidden_calls.find(["old", "new"], owner="a") == {"new": 2}
    await store.purge()
    clock.now -= 1
    assert await store.hidden_calls.find(["old", "new"], owner="a") == {"new": 2}


async def test_a_conversation_may_have_more_calls_than_a_question_has_values(store: Store) -> None:
    keys = [f"call_{number}" for number in range(40_000)]
    await store.hidden_calls.put(keys[-1:], 1, owner="a", ttl_s=60)
    assert await store.hidden_calls.find(keys, owner="a") == {keys[-1]: 1}
