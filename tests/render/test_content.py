"""Code that stands in the model's words, and how it is shown: events are made by the very reader of the pipeline."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.events import ChatMessage, ChunkDetected, CodeEnd, CodeStart, Event, Token, TurnEnd
from app.extraction.deltas import Delta
from app.extraction.turn import TurnReader
from app.extraction.turn_items import CodeEnded, CodeStarted, CodeText, ContentText
from app.render.answer import MarkdownAnswer
from app.render.code_blocks import Style
from app.render.content import Withheld, WordsReader
from app.render.way_back import restore
from tests.render.told import answer, done, executed, fences, text_of

SOURCES = ("tool", "fence", "tag")
CALL = "<tool_call>\n" + json.dumps({"name": "python", "arguments": {"code": "print(1)"}}) + "\n</tool_call>"
FUNCTION = "<function=python>\n<parameter=code>\nprint(1)\n</parameter>\n</function>"
FOREIGN = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
TAGS = [
    "<code>\nprint(1)\n</code>",
    "<execute>\nprint(1)\n</execute>",
    CALL,
    FUNCTION,
    f"<tool_call>{FUNCTION}</tool_call>",
]
PIECES = st.sampled_from(
    [
        *TAGS,
        FOREIGN,
        "```python\nx\n```\n",
        "<code>y",
        "</code>",
        "<think>",
        "</think>",
        "Words. ",
        "\n",
        " <",
        "a`b",
        "{",
    ]
)


def events_of(text: str, cuts: Sequence[int], printed: str) -> list[Event]:
    """Of one turn; each piece of code prints this when it is whole."""
    ids = (f"code{number}" for number in itertools.count())
    reader = TurnReader(SOURCES, {"python"}, new_id=lambda: next(ids))
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    items = [item for start, end in itertools.pairwise(bounds) for item in reader.feed(Delta(content=text[start:end]))]
    events: list[Event] = []
    lengths: dict[str, int] = {}
    for item in [*items, *reader.feed(Delta(finish_reason="stop")), *reader.flush()]:
        match item:
            case ContentText(piece):
                events.append(Token(turn=0, channel="content", text=piece))
            case CodeStarted(id, source, language):
                events.append(CodeStart(call_id=id, turn=0, source=source, language=language))
            case CodeText(id, piece):
                lengths[id] = lengths.get(id, 0) + len(piece)
                events.append(Token(turn=0, channel="code", text=piece, call_id=id))
            case CodeEnded(id):
                end = lengths.get(id, 0)
                events.append(ChunkDetected(call_id=id, chunk=0, start=0, end=end, line=1, gated=None))
                events += executed(id, 0, printed)
                events.append(CodeEnd(call_id=id, code="", status="ok", ran=1, chunks=1))
    return [*events, TurnEnd(turn=0, finish_reason="stop", usage=None)]


@pytest.mark.parametrize("style", ["markdown", "interleaved"])
@pytest.mark.parametrize("tag", TAGS)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
@example(cuts=list(range(400)))
@example(cuts=[])
def test_code_in_a_tag_is_shown_as_code_in_its_place(style: Style, tag: str, cuts: list[int]) -> None:
    shown = text_of(answer(style, sources=SOURCES), [*events_of(f"First. {tag}\nThen words.", cuts, "1\n"), done()])
    assert [(info, content.strip()) for info, content in fences(shown)] == [("python", "print(1)"), ("text", "1")]
    assert shown.startswith("First. ")
    assert shown.endswith("\nThen words.")
    assert "print(1)" not in shown.replace("```python\nprint(1)", "")
    assert "<tool_call>" not in shown
    assert "<code>" not in shown
    assert "parameter" not in shown


@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_two_tags_are_each_followed_by_what_they_printed(cuts: list[int]) -> None:
    text = f"{TAGS[0]} between {TAGS[2]} end"
    shown = text_of(answer(sources=SOURCES), [*events_of(text, cuts, "1\n"), done()])
    assert [info for info, _ in fences(shown)] == ["python", "text", "python", "text"]
    assert shown.index(" between ") > shown.index("```text")
    assert shown.endswith(" end")


@pytest.mark.parametrize("text", [FOREIGN, "<code>", "a <b", "```\n<code>\n```\n", "`<code>x</code>`"])
@given(cuts=st.lists(st.integers(0, 100), max_size=6))
def test_what_is_no_code_stays_text(text: str, cuts: list[int]) -> None:
    assert text_of(answer(sources=SOURCES), [*events_of(text, cuts, ""), done()]) == text


def test_a_thought_beside_the_code_of_a_structured_answer_is_shown_as_words() -> None:
    text = json.dumps({"thought": "I add.", "code": "print(1)\n"})
    shown = text_of(answer(sources=SOURCES), [*events_of(text, [5, 20, 40], "1\n"), done()])
    assert shown.startswith("I add.")
    assert fences(shown) == [("python", "print(1)\n"), ("text", "1\n")]


@given(pieces=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_whatever_the_words_hold_none_are_lost_or_doubled(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    reader = WordsReader(SOURCES, {"python"})
    found = []
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(bounds):
        for line in text[start:end].splitlines(keepends=True):
            found += reader.feed(line)
    found += reader.flush()
    parts = [
        piece.text if isinstance(piece, Withheld) else piece for piece in found if isinstance(piece, str | Withheld)
    ]
    assert "".join(parts) == text


@given(
    pieces=st.lists(PIECES, max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    printed=st.sampled_from(["", "1\n"]),
)
def test_what_comes_back_is_the_answer_as_the_model_wrote_it(pieces: list[str], cuts: list[int], printed: str) -> None:
    text = "".join(pieces)
    core = answer(sources=SOURCES)
    shown = text_of(core, events_of(text, cuts, printed))
    told = _told(core, text)
    shown += text_of(core, [done()])
    if told is None:
        assert shown == text
        return
    id, messages, turn = told
    if shown.strip():
        assert restore({"role": "assistant", "content": shown}, {id: turn}) == messages


def test_words_that_were_edited_keep_the_code_that_was_not_in_them() -> None:
    text = f"First. {TAGS[0]} Then."
    core = answer(sources=SOURCES)
    shown = text_of(core, events_of(text, [], "1\n"))
    told = _told(core, text)
    assert told is not None
    id, messages, turn = told
    edited = restore({"role": "assistant", "content": shown.replace("First.", "Second.")}, {id: turn})
    first = {"role": "assistant", "content": f"Second.\n{TAGS[0]}"}
    assert edited == [first, messages[1], {"role": "assistant", "content": " Then."}]


def _told(core: MarkdownAnswer, text: str):  # type: ignore[no-untyped-def]
    messages: list[ChatMessage] = [{"role": "assistant", "content": text}, {"role": "user", "content": "1"}]
    hidden = core.hidden(0, messages, "ses")
    return None if hidden is None else (hidden[0], messages, hidden[1])
