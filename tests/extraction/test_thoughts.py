import pytest
from hypothesis import given

from app.extraction.thoughts import WithoutThoughts
from tests.extraction.splits import cut_lists, pieces, plain_splits

CASES = {
    "": "",
    "an answer": "an answer",
    "  <b>bold</b>": "  <b>bold</b>",
    "<thin": "",
    "<thinner> x": "<thinner> x",
    "<think>a draft</think>\nthe answer": "\nthe answer",
    "\n <think>\n< </thin </think>x</think>y": "x</think>y",
    "<think>cut off": "",
    "first <think>later</think>": "first <think>later</think>",
    "<think></think><think>again</think>": "<think>again</think>",
}


@pytest.mark.parametrize("text", CASES)
def test_what_a_message_thinks_first_is_left_out(text: str) -> None:
    for fragments in plain_splits(text):
        reader = WithoutThoughts()
        assert "".join(map(reader.feed, fragments)) == CASES[text]


@given(cut_lists)
def test_it_is_the_same_for_any_cut(cuts: list[int]) -> None:
    for text, left in CASES.items():
        reader = WithoutThoughts()
        assert "".join(map(reader.feed, pieces(text, cuts))) == left


def test_many_blanks_before_the_first_word_are_kept_and_read_once() -> None:
    reader = WithoutThoughts()
    assert "".join(reader.feed(" ") for _ in range(1_000)) == ""
    assert len(repr(reader)) < 100
    assert reader.feed("<thin") == ""
    assert reader.feed("g") == " " * 1_000 + "<thing"
