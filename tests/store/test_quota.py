"""How much may be kept, over every kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.errors import OverQuota
from app.store.database import Store, open_store
from app.store.quota import Quota
from tests.store.conftest import Clock


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncIterator[Store]:
    """100 bytes for two, of whom b has a limit of its own."""
    quota = Quota(limit_bytes=100, fraction=lambda owner: 0.5, own_limit={"b": 40}.get)
    async with open_store(url, clock=clock, quota=quota) as store:
        yield store


async def keep(store: Store, id: str, owner: str, size: int) -> None:
    await store.files.add(id, owner=owner, filename="x", bytes=size, purpose="user_data")


async def test_what_others_leave_may_be_kept_but_for_a_reserve(store: Store) -> None:
    await keep(store, "1", "a", 75)
    with pytest.raises(OverQuota, match="75 bytes are kept for you") as refused:
        await keep(store, "2", "a", 1)
    assert refused.value.headers["x-should-retry"] == "false"
    await keep(store, "3", "b", 25)
    assert await store.files.get("2", owner="a") is None
    with pytest.raises(OverQuota):  # it has less than its share, and nothing is left
        await keep(store, "4", "b", 1)
    await store.files.delete("1", owner="a")
    await keep(store, "4", "b", 15)
    with pytest.raises(OverQuota):  # its own limit
        await keep(store, "5", "b", 1)


async def test_links_and_items_of_responses_count_too(store: Store) -> None:
    await store.shared.add(
        "s", token="t", owner="a", session="", name="x.png", media_type="image/png", bytes=40, ttl_s=60
    )
    items = [{"type": "message", "content": "x" * 40}]
    with pytest.raises(OverQuota):
        await add_response(store, "r1", items)
    assert await store.responses.get("r1", owner="a") is None
    await add_response(store, "r2", [{"a": "x"}])
    with pytest.raises(OverQuota):
        await keep(store, "1", "a", 30)


async def add_response(store: Store, id: str, items: list[dict[str, str]]) -> None:
    await store.responses.add(
        id,
        owner="a",
        model="m",
        previous_response_id=None,
        container_id=None,
        input_items=items,
        output_items=[],
        response={"id": id},
    )
