from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.wellformed import MAX_DEPTH, well_formed

#: Halves are common here.
TEXT = st.text(st.one_of(st.characters(categories=["Cs"]), st.characters()), max_size=6)
DOCUMENT = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, DOCUMENT, max_size=3))
@settings(max_examples=200, deadline=None)
def test_anything_can_be_encoded_afterwards_and_what_could_be_is_unchanged(document: dict[str, Any]) -> None:
    spelled = json.dumps(document, ensure_ascii=False)
    try:
        spelled.encode()
    except UnicodeEncodeError:
        json.dumps(well_formed(document), ensure_ascii=False).encode()
    else:
        assert well_formed(document) == json.loads(spelled)


@pytest.mark.parametrize(
    ("text", "mended"), [("a\ud83d", "a\ufffd"), ("\ude00b", "\ufffdb"), ("\ud83d\ude00", "😀"), ("é😀", "é😀")]
)
def test_halves_are_replaced_and_pairs_joined(text: str, mended: str) -> None:
    assert well_formed({"a": [text], text: 1}) == {"a": [mended], mended: 1}


def test_nesting_is_bounded() -> None:
    document: Any = []
    for _ in range(MAX_DEPTH - 1):
        document = [document]
    well_formed(document)
    with pytest.raises(ValueError, match="nested"):
        well_formed([document])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NaN"):
        well_formed(json.loads(f'{{"a": [{text}]}}'))
