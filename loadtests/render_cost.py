"""What it costs to show code and its output in the text of an answer: CPU per token of many streams, each in turns with
the same stream that is not rendered. What is written to the client counts on both sides."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from app.api.chat.wire import ChatWire
from app.events import ChunkDetected, CodeEnd, CodeStart, Event, ExecEnd, ExecOutput, ExecStart, Token, TurnEnd
from app.render.answer import MarkdownAnswer
from app.render.code_blocks import Style
from loadtests.corpus import CHARS_PER_TOKEN
from loadtests.tables import table

STREAMS: Final = 64
_STATEMENTS: Final = 60
_STATEMENT: Final = "value = compute(value, {n:03}, 'some words')\n"
#: Of the statements, every so many prints something.
_PRINTS: Final = 6
_REPEATS: Final = 5
STYLES: Final[tuple[Style, ...]] = ("markdown", "interleaved")


class RenderCost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU per token in microseconds: of rendering and of what more is written, and of a token without."""

    style: Style
    streams: int
    added_us: float
    plain_us: float


def render_costs() -> list[RenderCost]:
    return [_cost(style) for style in STYLES]


def render_table(costs: Sequence[RenderCost]) -> str:
    rows = [[cost.style, str(cost.streams), f"{cost.plain_us:.1f}", f"{cost.added_us:.1f}"] for cost in costs]
    return table(["style", "streams", "not rendered, us/token", "rendering adds"], rows)


def _cost(style: Style) -> RenderCost:
    """Both sides in turns, so that what slows the machine slows both; the least of each counts."""
    tokens = sum(isinstance(event, Token) for event in _events()) * STREAMS
    plain = rendered = float("inf")
    for _ in range(_REPEATS):
        plain = min(plain, _play(None) / tokens)
        rendered = min(rendered, _play(style) / tokens)
    return RenderCost(style=style, streams=STREAMS, added_us=rendered - plain, plain_us=plain)


def _play(style: Style | None) -> float:
    """CPU of all streams, an event of each in turn; microseconds."""
    wires = [ChatWire(id="chatcmpl-1", created=0, model="m", include_usage=False, events=False) for _ in range(STREAMS)]
    answers = [_answer(style) for _ in range(STREAMS)] if style is not None else []
    events = list(_events())
    began = time.process_time_ns()
    for event in events:
        for number, wire in enumerate(wires):
            for shown in answers[number].feed(event) if answers else (event,):
                wire.encode(shown)
    return (time.process_time_ns() - began) / 1e3


def _answer(style: Style) -> MarkdownAnswer:
    ids = (f"turn{number:08}" for number in itertools.count())
    return MarkdownAnswer(style, new_id=lambda: next(ids), sources={"tool"}, tools={"python"}, repairs=True)


def _events() -> Iterator[Event]:
    """Of one answer: code, of which each statement runs as soon as it is written."""
    yield CodeStart(call_id="c", turn=0, source="tool", language="python")
    code = ""
    for number in range(_STATEMENTS):
        statement = _STATEMENT.format(n=number)
        for start in range(0, len(statement), CHARS_PER_TOKEN):
            text = statement[start : start + CHARS_PER_TOKEN]
            yield Token(turn=0, channel="code", text=text, call_id="c")
        start, code = len(code), code + statement
        yield ChunkDetected(call_id="c", chunk=number, start=start, end=len(code), line=number + 1, gated=None)
        yield ExecStart(call_id="c", batch=number, chunks=[number])
        if number % _PRINTS == 0:
            yield ExecOutput(call_id="c", batch=number, stream="stdout", text=f"step {number} is done\n")
        yield ExecEnd(call_id="c", batch=number, status="ok", duration_ms=1)
    yield TurnEnd(turn=0, finish_reason="tool_calls", usage=None)
    yield CodeEnd(call_id="c", code=code, status="ok", ran=_STATEMENTS, chunks=_STATEMENTS)
