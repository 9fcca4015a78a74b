from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.turn_texts import OnlyJson, Paragraphs, TurnTexts
from app.events import Done, Error, ErrorBody, Event, Timing, Token, ToolCall, TurnEnd

TIMING: Any = dict.fromkeys(Timing.__struct_fields__, 0.0)
DONE = Done(finish_reason="stop", usage=None, timing=Timing(**TIMING))
END = TurnEnd(turn=0, finish_reason="tool_calls", usage=None)
CALL = ToolCall(id="c", name="f", arguments="{}")


def say(turn: int, text: str) -> Token:
    return Token(turn=turn, channel="content", text=text)


def shown(texts: TurnTexts, events: Sequence[Event]) -> str:
    """What the client has read at the end; everything that is no text has passed in its order."""
    fed = [event for given in events for event in texts.feed(given)]
    assert [e for e in fed if not isinstance(e, Token)] == [e for e in events if not isinstance(e, Token)]
    return "".join(event.text for event in fed if isinstance(event, Token))


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("Let me compute.", "42", "Let me compute.\n\n42"),
        ("Let me compute:\n", "# Result", "Let me compute:\n\n# Result"),
        ("Let me compute.", "\n\n42", "Let me compute.\n\n42"),
        ("Let me compute.\n\n\n", "\n42", "Let me compute.\n\n\n42"),
        ("\n ", "42", "\n 42"),
        ("", "42", "42"),
    ],
)
def test_the_texts_of_turns_are_paragraphs(first: str, second: str, whole: str) -> None:
    assert shown(Paragraphs(), [say(0, first), END, say(1, second), say(1, "!"), DONE]) == whole + "!"


def test_turns_without_text_between_do_not_matter() -> None:
    assert shown(Paragraphs(), [say(0, "a"), say(2, "b"), say(2, "c"), DONE]) == "a\n\nbc"


def test_reasoning_has_paragraphs_of_its_own_and_code_has_none() -> None:
    def think(turn: int, text: str) -> Token:
        return Token(turn=turn, channel="reasoning", text=text, key="reasoning")

    def write(turn: int) -> Token:
        return Token(turn=turn, channel="code", text="1", call_id="c")

    texts = Paragraphs()
    events = [think(0, "Hm."), say(0, "a"), write(0), think(1, "So."), write(1), say(1, "b")]
    gaps = [think(1, "\n\n"), say(1, "\n\n")]
    assert [event for given in events for event in texts.feed(given)] == [
        *events[:3],
        gaps[0],
        *events[3:5],
        gaps[1],
        events[5],
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "\n", " ", "b\n", "\n\n", ""])), max_size=8))
def test_every_split_of_a_text_has_the_same_paragraphs(pieces: list[tuple[int, str]]) -> None:
    pieces = sorted(pieces, key=lambda piece: piece[0])
    whole = {turn: "".join(text for at, text in pieces if at == turn) for turn, _ in pieces}
    by_letter = [say(turn, letter) for turn, text in pieces for letter in text]
    assert shown(Paragraphs(), by_letter) == shown(Paragraphs(), [say(*turn) for turn in whole.items()])


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            [say(0, "Let me"), say(0, " compute."), END, say(1, "\n"), say(1, '{"a": '), say(1, "1}"), DONE],
            '\n{"a": 1}',
        ),
        ([say(0, "[1"), say(0, "]"), DONE], "[1]"),
        ([say(0, "I cannot."), DONE], "I cannot."),
        ([say(0, "Let me."), END, DONE], "Let me."),
        ([say(0, "Let me ask."), CALL, DONE], ""),
        ([say(0, "Let me."), END, say(1, "No."), Error(error=ErrorBody("cut", "t"))], "No."),
    ],
)
def test_of_an_answer_that_is_to_be_parsed_the_last_text_counts(events: list[Event], text: str) -> None:
    assert shown(OnlyJson(), events) == text


def test_json_is_shown_as_it_comes_and_what_is_none_when_nothing_follows() -> None:
    texts = OnlyJson()
    assert texts.feed(say(0, "Hm.")) == []
    assert texts.feed(say(1, " ")) == []
    assert texts.feed(say(1, "{")) == [say(1, " "), say(1, "{")]
    assert texts.feed(say(1, "}")) == [say(1, "}")]
    assert texts.feed(DONE) == [DONE]
