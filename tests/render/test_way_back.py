from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events import ChatMessage, CodeEnd, CodeStart, Event, Token, TurnEnd
from app.render.code_blocks import Style
from app.render.markers import find_markers, without_markers
from app.render.way_back import HiddenTurn, restore, restored_conversation, split, turns_named
from tests.render.told import Call, answer, done, executed, text_of, words

NASTY = st.text(alphabet="`~ab\n#<>|[]/:()-= \t", max_size=30)
WORDS = NASTY.filter(lambda text: not text or bool(text.strip()))


def hidden_messages(turn: int, said: str, output: str) -> list[ChatMessage]:
    call = {
        "id": f"call_{turn}",
        "type": "function",
        "function": {"name": "python", "arguments": json.dumps({"code": "x"})},
    }
    return [
        {"role": "assistant", "content": said or None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{turn}", "content": output or "(no output)"},
    ]


class Conversation:
    """An answer of several turns with code, and a last one without."""

    def __init__(self, turns: list[tuple[str, str, str]], last: str, style: Style = "markdown") -> None:
        core = answer(style)
        self.text = ""
        self.turns: dict[str, HiddenTurn] = {}
        self.messages: list[ChatMessage] = []
        for number, (said, source, printed) in enumerate(turns):
            call = Call([(f"{source}\n", printed)], turn=number, id=f"call_{number}")
            self.text += text_of(core, [*([words(said, number)] if said else []), *call.events()])
            messages = hidden_messages(number, said, printed)
            hidden = core.hidden(number, messages, "ses_1")
            self.text += text_of(core, [])
            assert hidden is not None
            self.turns[hidden[0]] = hidden[1]
            self.messages += messages
        end = [TurnEnd(turn=len(turns), finish_reason="stop", usage=None), done()]
        self.text += text_of(core, [*([words(last, len(turns))] if last else []), *end])
        if last:
            self.messages.append({"role": "assistant", "content": last})

    def sent(self, text: str | None = None) -> ChatMessage:
        return {"role": "assistant", "content": self.text if text is None else text}


@pytest.mark.parametrize("style", ["markdown", "interleaved"])
@given(turns=st.lists(st.tuples(WORDS, NASTY, NASTY), min_size=1, max_size=3), last=WORDS)
def test_what_comes_back_unchanged_is_the_conversation_as_it_was(
    style: Style, turns: list[tuple[str, str, str]], last: str
) -> None:
    conversation = Conversation(turns, last, style)
    assert restore(conversation.sent(), conversation.turns) == conversation.messages


ONE = Conversation([("Let me see.", "print(1)", "1\n"), ("Once more:", "print(2)", "2\n")], "It is 2.")


@pytest.mark.parametrize("change", [str.strip, lambda text: text.replace("\n", "\r\n"), lambda text: text + "\n"])
def test_what_front_ends_do_to_white_space_changes_nothing(change: Any) -> None:
    restored = restore(ONE.sent(change(ONE.text)), ONE.turns)
    assert [message["role"] for message in restored] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert restored[:4] == ONE.messages[:4]


def test_edited_words_are_the_users_and_the_code_stays() -> None:
    restored = restore(ONE.sent(ONE.text.replace("Let me see.", "I will look.").replace("It is 2.", "Two.")), ONE.turns)
    assert restored == [
        {**ONE.messages[0], "content": "I will look."},
        *ONE.messages[1:4],
        {"role": "assistant", "content": "Two."},
    ]


def test_edited_output_is_text() -> None:
    (first, *rest) = restore(ONE.sent(ONE.text.replace("1\n```\n\n[", "7\n```\n\n[", 1)), ONE.turns)
    assert "tool_calls" not in first or first["content"].startswith("Let me see.")
    assert any("7" in (message["content"] or "") for message in [first, *rest])
    assert not any("eager:" in (message["content"] or "") for message in [first, *rest])


@given(at=st.integers(0, len(ONE.text)))
def test_a_text_that_was_cut_stays_and_shows_no_marker(at: int) -> None:
    for text in (ONE.text[:at], ONE.text[at:], ONE.text[: at // 2] + ONE.text[at:]):
        messages = restore(ONE.sent(text), ONE.turns)
        assert not any(list(find_markers(message["content"] or "")) for message in messages)
        calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
        answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        assert calls == answered


def test_what_is_not_remembered_is_text() -> None:
    (message,) = restore(ONE.sent(), {})
    assert message["content"] == without_markers(ONE.text)
    assert "print(1)" in message["content"]


def test_a_text_pasted_twice_is_restored_once() -> None:
    conversation = [{"role": "user", "content": "q"}, ONE.sent(), {"role": "user", "content": "again"}, ONE.sent()]
    restored = restored_conversation(conversation, ONE.turns)
    calls = [call["id"] for message in restored for call in message.get("tool_calls", ())]
    assert calls == ["call_0", "call_1"]
    assert restored[-1]["content"] == without_markers(ONE.text)


def test_whoever_quotes_an_answer_is_read_without_markers() -> None:
    title = {"role": "user", "content": f"Make a title of this:\nASSISTANT: {ONE.text}"}
    parts = {"role": "user", "content": [{"type": "text", "text": ONE.text}, {"type": "image_url", "image_url": {}}]}
    restored = restored_conversation([title, parts], ONE.turns)
    assert "eager:" not in json.dumps(restored)
    assert "print(1)" in restored[0]["content"]
    assert restored[1]["content"][1] == {"type": "image_url", "image_url": {}}


def test_text_without_markers_is_passed_as_it_is() -> None:
    message = {"role": "assistant", "content": "Plain\r\n[//]: # (mine)\n", "name": "x"}
    assert restore(message, ONE.turns) == [message]
    assert restored_conversation([message], {}) == [message]


def test_code_in_the_words_keeps_its_fence_and_gets_its_output_back() -> None:
    said, more = "See:\n```python\nprint(1)\n```\n", "So it is."
    events: list[Event] = [
        words(said + more),
        CodeStart(call_id="f", turn=0, source="fence", language="python"),
        Token(turn=0, channel="code", text="print(1)\n", call_id="f"),
        *executed("f", 0, "1\n"),
        CodeEnd(call_id="f", code="print(1)\n", status="ok", ran=1, chunks=1),
        TurnEnd(turn=0, finish_reason="stop", usage=None),
    ]
    core = answer(sources=("fence",))
    text = text_of(core, events)
    kept = [{"role": "assistant", "content": said + more}, {"role": "user", "content": "Output of your code:\n1\n"}]
    hidden = core.hidden(0, kept, "")
    assert hidden is not None
    text += text_of(core, [words("One.", 1), done()])
    assert restore({"role": "assistant", "content": text}, dict([hidden])) == [
        *kept,
        {"role": "assistant", "content": "One."},
    ]


def test_the_pieces_of_a_text_are_the_text() -> None:
    pieces = split(ONE.text)
    assert "".join(getattr(piece, "whole", None) or piece.text for piece in pieces) == ONE.text  # type: ignore[union-attr]
    assert turns_named(ONE.text) == list(ONE.turns)
