from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import RequestError
from app.store import paging
from app.store.database import Store, open_store
from app.store.files import FileRecord
from app.store.paging import PageRequest, SortOrder


async def walk(store: Store, limit: int, order: SortOrder, purpose: str | None = None) -> list[FileRecord]:
    """All records, page after page."""
    seen: list[FileRecord] = []
    while True:
        page = PageRequest(limit, order, seen[-1].id if seen else None)
        records, more = await store.files.list(owner="a", page=page, purpose=purpose)
        assert len(records) == limit or not more
        seen += records
        if not more:
            return seen


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5), st.sampled_from(["asc", "desc"]))
def test_pages_joined_are_the_list_whatever_their_size_even_where_times_are_equal(
    times: list[int], limit: int, order: SortOrder
) -> None:
    async def play() -> None:
        left = iter([float(time) for time in times])
        clock: Callable[[], float] = lambda: next(left, 9.0)  # noqa: E731
        async with open_store("sqlite+aiosqlite://", clock=clock) as store:
            added = [
                await store.files.add(f"file-{number}", owner="a", filename="x", bytes=0, purpose="vision")
                for number in range(len(times))
            ]
            expected = sorted(added, key=lambda record: (record.created_at, record.id), reverse=order == "desc")
            assert await walk(store, limit, order) == expected

    asyncio.run(play())


async def test_a_filter_holds_over_all_pages(store: Store) -> None:
    for number in range(6):
        purpose = "vision" if number % 2 else "user_data"
        await store.files.add(f"file-{number}", owner="a", filename="x", bytes=0, purpose=purpose)
    assert [record.id for record in await walk(store, 1, "asc", "vision")] == ["file-1", "file-3", "file-5"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_client_that_deletes_what_it_lists_comes_to_the_end(store: Store, order: SortOrder) -> None:
    for number in range(7):
        await store.files.add(f"file-{number}", owner="a", filename="x", bytes=0, purpose="vision")
    after, seen = None, 0
    while True:
        records, more = await store.files.list(owner="a", page=PageRequest(2, order, after))
        for record in records:
            assert await store.files.delete(record.id, owner="a")
        seen += len(records)
        after = records[-1].id
        if not more:
            break
        with pytest.raises(RequestError):
            await store.files.list(owner="b", page=PageRequest(2, order, after))
    assert seen == 7


async def test_ends_of_pages_are_forgotten_at_some_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_ENDS", 2)
    for number in range(5):
        await store.files.add(f"file-{number}", owner="a", filename="x", bytes=0, purpose="vision")
    await walk(store, 1, "asc")
    for number in range(5):
        await store.files.delete(f"file-{number}", owner="a")
    assert await store.files.list(owner="a", page=PageRequest(1, "asc", "file-3")) == ([], False)
    with pytest.raises(RequestError):
        await store.files.list(owner="a", page=PageRequest(1, "asc", "file-1"))


async def test_to_continue_after_what_is_not_there_or_not_ones_own_is_an_error(store: Store) -> None:
    await store.files.add("file-1", owner="b", filename="x", bytes=0, purpose="vision")
    with pytest.raises(RequestError) as refused:
        await store.files.list(owner="a", page=PageRequest(after="file-1"))
    assert refused.value.param == "after"
