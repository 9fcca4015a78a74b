from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import text

from app.errors import RequestError
from app.store import item_parts, responses
from app.store.database import Store
from app.store.item_parts import PART_ITEMS
from app.store.paging import PageRequest, SortOrder

Item = dict[str, Any]


async def add(
    store: Store,
    id: str,
    previous: str | None = None,
    owner: str = "a",
    given: Sequence[Item] = (),
    output: Sequence[Item] = (),
) -> None:
    await store.responses.add(
        id,
        owner=owner,
        model="m",
        previous_response_id=previous,
        container_id=None,
        input_items=given,
        output_items=output,
        response={"id": id},
    )


async def chain(store: Store, id: str) -> list[str]:
    return [turn.id for turn in await store.responses.chain(id, owner="a")]


async def test_a_conversation_is_followed_back_oldest_first(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    await add(store, "side", "r2")
    assert await chain(store, "r3") == ["r1", "r2", "r3"]
    assert await chain(store, "side") == ["r1", "r2", "side"]
    assert await chain(store, "r1") == ["r1"]
    assert await chain(store, "nope") == []


async def test_what_others_go_on_from_is_kept_for_them_when_it_is_deleted(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    await add(store, "side", "r2")
    for id in ("r1", "r2"):
        assert await store.responses.delete(id, owner="a")
        assert await store.responses.get(id, owner="a") is None
        assert await chain(store, id) == []
        assert not await store.responses.delete(id, owner="a")
    assert await chain(store, "r3") == ["r1", "r2", "r3"]
    assert await store.responses.delete("r3", owner="a")
    assert await chain(store, "side") == ["r1", "r2", "side"]
    assert await store.responses.delete("side", owner="a")
    await add(store, "late", "r2")  # was on its way when the last of them was deleted
    assert await chain(store, "late") == []


async def test_deleting_an_answer_leaves_those_before_it_that_were_not_deleted(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    assert await store.responses.delete("r2", owner="a")
    assert await store.responses.delete("r3", owner="a")
    assert await chain(store, "r1") == ["r1"]


async def test_a_conversation_without_its_beginning_is_none(store: Store) -> None:
    await add(store, "other", owner="b")
    await add(store, "r1", "other")
    await add(store, "r2", "r1")
    assert await chain(store, "r2") == []


async def test_a_circle_ends(store: Store) -> None:
    await add(store, "r1", "r2")
    await add(store, "r2", "r1")
    assert set(await chain(store, "r1")) == {"r1", "r2"}


def numbered(count: int) -> list[Item]:
    return [{"role": "user", "content": str(number)} for number in range(count)]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, PART_ITEMS, 3 * PART_ITEMS])
async def test_the_input_is_listed_page_by_page(store: Store, order: SortOrder, limit: int) -> None:
    given = numbered(2 * PART_ITEMS + 50)
    await add(store, "r1", given=given)
    listed: list[tuple[int, Item]] = []
    more, after = True, None
    while more:
        found, more = await store.responses.input_items("r1", PageRequest(limit, order), after=after)
        assert len(found) == limit or not more
        listed += found
        after = found[-1][0]
    expected = list(enumerate(given))
    assert listed == (expected if order == "asc" else expected[::-1])


async def test_one_item_of_many_is_read_without_the_others(store: Store) -> None:
    await add(store, "r1", given=numbered(200 * PART_ITEMS), output=numbered(PART_ITEMS))
    decode = patch.object(responses, "decode", side_effect=item_parts.decode)
    for order, expected in (("desc", 200 * PART_ITEMS - 1), ("asc", 0)):
        with decode as decoded:
            found, more = await store.responses.input_items("r1", PageRequest(1, order), after=None)
        assert [position for position, _ in found] == [expected]
        assert more
        assert decoded.call_count == 1
    with decode as decoded:
        found, _ = await store.responses.input_items("r1", PageRequest(1, "asc"), after=5_000)
    assert [position for position, _ in found] == [5_001]
    assert decoded.call_count == 1


async def test_a_list_goes_on_after_an_item_by_its_own_id(store: Store) -> None:
    given = numbered(3 * PART_ITEMS)
    given[150] |= {"id": 'msg_%_"\\'}
    given[10] |= {"content": '{"id":"msg_1"}'}  # not the id of this one
    given[250] |= {"id": "msg_1"}
    await add(store, "r1", given=given)
    for id, position in (('msg_%_"\\', 150), ("msg_1", 250)):
        found, _ = await store.responses.input_items("r1", PageRequest(1, "asc"), after=id)
        assert found == [(position + 1, given[position + 1])]
    for unknown in ("msg_2", "MSG_1", 3 * PART_ITEMS):
        with pytest.raises(RequestError, match="to continue after"):
            await store.responses.input_items("r1", PageRequest(1, "asc", str(unknown)), after=unknown)


async def test_what_a_request_can_have_read_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(store, "r1", given=numbered(10), output=numbered(10))
    await add(store, "r2", "r1", given=numbered(10), output=numbered(10))
    (first, second) = await store.responses.chain("r2", owner="a")
    assert (first.input_items, second.output_items) == (numbered(10), numbered(10))
    size = len(item_parts.encode(numbered(10)))
    monkeypatch.setattr(responses, "READ_LIMIT", 3 * size)
    with pytest.raises(RequestError) as refused:
        await store.responses.chain("r2", owner="a")
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")
    assert len(await store.responses.chain("r1", owner="a")) == 1
    assert len(await store.responses.output_items(["r1", "r2", "r3"], owner="a")) == 20
    assert await store.responses.output_items(["r1"], owner="b") == []
    monkeypatch.setattr(responses, "READ_LIMIT", size)
    with pytest.raises(RequestError):
        await store.responses.output_items(["r1", "r2"], owner="a")


async def test_items_go_with_their_response(store: Store) -> None:
    await add(store, "r1", given=numbered(1), output=numbered(1))
    await add(store, "r2", "r1", given=numbered(1))
    assert await store.responses.delete("r1", owner="a")
    assert await store.responses.output_items(["r1"], owner="a") == []
    assert [turn.output_items for turn in await store.responses.chain("r2", owner="a")] == [numbered(1), []]
    assert await store.responses.delete("r2", owner="a")
    async with store.responses._connections.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM eager_response_items")) == 0
