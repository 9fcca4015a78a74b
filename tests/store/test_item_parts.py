from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.store.item_parts import PART_BYTES, PART_ITEMS, decode, divide

ITEMS = st.lists(st.dictionaries(st.sampled_from("abc"), st.text(st.characters(), max_size=20) | st.integers()))


@given(ITEMS)
async def test_parts_in_their_order_are_the_items(items: list[dict[str, Any]]) -> None:
    parts = await divide(items)
    assert [item for part in parts for item in decode(part.text)] == items
    assert [part.first for part in parts] == [sum(part.count for part in parts[:at]) for at in range(len(parts))]
    assert all(part.text.isascii() for part in parts)


async def test_parts_are_bounded_by_number_and_by_size() -> None:
    small = await divide([{"n": number} for number in range(2 * PART_ITEMS + 1)])
    assert [part.count for part in small] == [PART_ITEMS, PART_ITEMS, 1]
    large = await divide([{"text": "x" * (PART_BYTES // 2)}] * 5)
    assert [part.count for part in large] == [2, 2, 1]
    huge = await divide([{"text": "x" * PART_BYTES * 3}] * 2)  # an item is never divided
    assert [part.count for part in huge] == [1, 1]
    assert await divide([]) == []
