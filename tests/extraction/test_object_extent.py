import json

from hypothesis import given
from hypothesis import strategies as st

from app.extraction.object_extent import ObjectExtent
from tests.extraction.splits import cut_lists, pieces, plain_splits
from tests.extraction.test_json_object import values


def extent(fragments: list[str]) -> int | None:
    """Where the object ended."""
    reader = ObjectExtent()
    before = 0
    for fragment in fragments:
        end = reader.feed(fragment)
        if end >= 0:
            return before + end
        before += len(fragment)
    return None


@given(st.dictionaries(st.text(max_size=6), values, max_size=5), cut_lists)
def test_finds_the_end_of_any_object(value: dict[str, object], cuts: list[int]) -> None:
    encoded = json.dumps(value)
    assert extent(pieces(f" {encoded}}}{{", cuts)) == len(encoded) + 1


def test_other_text_has_no_end() -> None:
    for fragments in plain_splits("print({1: 2})"):
        assert extent(fragments) is None


def test_an_escape_may_be_cut() -> None:
    for fragments in plain_splits(r'{"a\\": "\"}"}'):
        assert extent(fragments) == 14
