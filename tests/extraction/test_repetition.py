import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamBroken
from app.extraction.repetition import MAX_REPETITIONS, Repetition
from tests.extraction.splits import cut_lists, pieces
from tests.extraction.test_json_object import values

objects = st.dictionaries(st.text(max_size=4), values, min_size=1, max_size=4)


def beyond(whole: str, fragments: list[str]) -> tuple[str, str]:
    """What is surely no repetition, up to its first piece, with all behind it; and what is held in the end."""
    reader = Repetition(whole)
    for at, fragment in enumerate(fragments):
        if text := reader.feed(fragment):
            return text + "".join(fragments[at + 1 :]), reader.held
    return "", reader.held


@given(objects, st.booleans(), st.booleans(), cut_lists)
def test_the_same_again_is_left_out_however_it_is_written(
    value: dict[str, object], ascii: bool, spaced: bool, cuts: list[int]
) -> None:
    again = json.dumps(value, ensure_ascii=ascii, indent=1 if spaced else None)
    assert beyond(json.dumps(value), pieces(f"\n{again} {again}", cuts)) == ("", "")


@given(objects, objects, cut_lists)
def test_anything_else_is_told_whole(value: dict[str, object], other: dict[str, object], cuts: list[int]) -> None:
    whole, text = json.dumps(value), json.dumps(other)
    assert beyond(whole, pieces(f"{whole} {text}", cuts)) == (("", "") if text == whole else (f" {text}", ""))


@given(objects, cut_lists)
def test_the_beginning_of_the_same_is_held(value: dict[str, object], cuts: list[int]) -> None:
    whole = json.dumps(value)
    assert beyond(whole, pieces(f" {whole[:-1]}", cuts)) == ("", f" {whole[:-1]}")


def test_other_text_is_told_at_once() -> None:
    assert beyond('{"a": 1}', ["\n", " }"]) == ("\n }", "")


def test_repetitions_are_counted() -> None:
    whole = '{"a": 1}'
    assert beyond(whole, [whole] * MAX_REPETITIONS) == ("", "")
    for again in (whole, '{"a":1}'):
        with pytest.raises(UpstreamBroken):
            beyond(whole, [again * (MAX_REPETITIONS + 1)])
