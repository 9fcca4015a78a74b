import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extraction.json_object import JsonObject, Text
from tests.extraction.splits import cut_lists, pieces, plain_splits

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def texts(fragments: list[str]) -> tuple[dict[str, str], JsonObject]:
    reader = JsonObject()
    found: dict[str, str] = {}
    for fragment in fragments:
        for event in reader.feed(fragment):
            if isinstance(event, Text):
                found[event.key] = found.get(event.key, "") + event.text
    return found, reader


@given(st.dictionaries(st.text(max_size=6), values, max_size=5), st.booleans(), cut_lists)
def test_texts_of_any_object_for_any_cut(value: dict[str, object], ascii: bool, cuts: list[int]) -> None:
    encoded = json.dumps(value, ensure_ascii=ascii)[1:]
    found, reader = texts(pieces(encoded, cuts))
    assert {key: text for key, text in found.items() if isinstance(value[key], str)} == {
        key: text for key, text in value.items() if isinstance(text, str) and text
    }
    assert all(isinstance(value[key], str | list) for key in found)
    assert reader.closed
    assert not reader.trailing


def test_a_list_of_strings_is_lines() -> None:
    for fragments in plain_splits('"code": ["a", "", "b\\n", "c"], "n": 1}'):
        assert texts(fragments)[0] == {"code": "a\n\nb\nc"}


def test_keys_inside_values_are_no_keys() -> None:
    encoded = '"a": "\\"code\\": \\"x\\"", "b": {"code": "x", "}": ["]"]}, "c": [{"code": "x"}], "d": tru, "code": "y"}'
    for fragments in plain_splits(encoded):
        assert texts(fragments)[0] == {"a": '"code": "x"', "code": "y"}


@pytest.mark.parametrize("encoded", ["'code': 1}", "1, 2}", '"a" "b"}', '"a", 1}'])
def test_what_is_no_json_breaks(encoded: str) -> None:
    for fragments in plain_splits(encoded):
        assert texts(fragments)[1].broken


def test_text_behind_the_object_is_noticed() -> None:
    for fragments in plain_splits('"a": 1} ["a"]'):
        reader = texts(fragments)[1]
        assert reader.closed
        assert reader.trailing
