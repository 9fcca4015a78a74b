import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_size import MAX_VALUES, TooManyValues, ValueCounter, check_text, marks

DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text('ab[]{},"\\:\u20ac', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\,[', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def values(document: Any) -> int:
    inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + sum(map(values, inside))


@given(DOCUMENTS, st.lists(st.integers(1, 5)), st.booleans())
def test_values_are_counted_in_any_split(document: Any, sizes: list[int], ascii_only: bool) -> None:
    data = json.dumps(document, ensure_ascii=ascii_only).encode()
    counter, start = ValueCounter(), 0
    for size in sizes:
        counter.feed(data[start : start + size])
        start += size
    counter.feed(data[start:])
    whole = ValueCounter()
    whole.feed(data)
    assert counter.values == whole.values
    # An empty container counts twice: as itself, and as one of others.
    assert values(document) / 2 <= whole.values <= 2 * values(document)
    assert whole.values <= marks(data) + 1


@pytest.mark.parametrize("unit", ["[],", "{},", '"",', "0,", '{"a":[]},', "[[[]]],"])
async def test_a_text_of_many_small_values_is_refused(unit: str) -> None:
    with pytest.raises(TooManyValues):
        await check_text(f"[{unit * (MAX_VALUES + 1)}0]")


@pytest.mark.parametrize("unit", ["[],", '{\\"a\\": 1}, ', "\\\\,[", "text, "])
async def test_what_stands_in_a_string_is_one_value(unit: str) -> None:
    await check_text('{"content": "' + unit * (2 * MAX_VALUES) + '"}')
