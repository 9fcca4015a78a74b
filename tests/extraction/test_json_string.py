import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extraction.json_string import JsonString
from tests.extraction.splits import cut_lists, pieces, plain_splits


def decode(fragments: list[str]) -> tuple[str, bool, str]:
    """The contents, whether the string was closed, and what came behind the quote."""
    string = JsonString()
    contents = rest = ""
    for fragment in fragments:
        if string.closed:
            rest += fragment
            continue
        decoded, end = string.feed(fragment)
        contents += decoded
        rest += fragment[end:]
    return contents + ("" if string.closed else string.flush()), string.closed, rest


@given(st.text(), st.booleans(), cut_lists)
def test_decodes_what_json_encodes(text: str, ascii: bool, cuts: list[int]) -> None:
    encoded = json.dumps(text, ensure_ascii=ascii)[1:] + ', "x": "\\n"}'
    assert decode(pieces(encoded, cuts)) == (text, True, ', "x": "\\n"}')
    assert decode(list(encoded)) == (text, True, ', "x": "\\n"}')


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ('a\nb\tc"', "a\nb\tc"),
        (r'\ud83d\ude00"', "😀"),
        (r'\ud83d"', "\ufffd"),
        (r'\ude00"', "\ufffd"),
        (r'\ud83dx"', "\ufffdx"),
        (r'\ud83d\n"', "\ufffd\n"),
        (r'\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'\'\q\/"', "'\\q/"),
        (r'\uZZ"', "\\uZZ"),
        (r'\u00e"', "\\u00e"),
    ],
)
def test_sloppy_strings_are_read(encoded: str, expected: str) -> None:
    for fragments in plain_splits(encoded):
        assert decode(fragments) == (expected, True, "")


@pytest.mark.parametrize(
    ("encoded", "expected"), [("ab", "ab"), ("ab\\", "ab"), (r"ab\u00", "ab"), (r"\ud83d", "\ufffd")]
)
def test_a_string_that_is_cut_off_keeps_what_was_whole(encoded: str, expected: str) -> None:
    for fragments in plain_splits(encoded):
        assert decode(fragments) == (expected, False, "")


def test_characters_come_as_soon_as_they_are_decoded() -> None:
    string = JsonString()
    assert [string.feed(fragment)[0] for fragment in ["a\\", "n", "\\u00", "e9b", "\\ud83d", "\\u", "de00"]] == [
        "a", "\n", "", "éb", "", "", "😀",
    ]  # fmt: skip
