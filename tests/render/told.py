"""Events of made-up answers, as the pipeline emits them, and what a Markdown parser finds in the text they become."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt

from app.events import (
    ChunkDetected,
    CodeEnd,
    CodeStart,
    Done,
    Event,
    ExecEnd,
    ExecOutput,
    ExecStart,
    Start,
    Timing,
    Token,
    TurnEnd,
)
from app.render.answer import MarkdownAnswer
from app.render.code_blocks import Style

PARSER = MarkdownIt("gfm-like", {"linkify": False})
TIMING = Timing(
    ttft_ms=0, gen_ms=0, exec_ms=0, nel_ms=0, e2el_ms=0, serial_e2el_ms=0, saved_ms=0, bound_ms=0, chunks=0, batches=0,
    gates={},
)  # fmt: skip


def answer(style: Style = "markdown", *, sources: Iterable[str] = ("tool",), repairs: bool = True) -> MarkdownAnswer:
    ids = (f"turn{number:08}" for number in itertools.count())
    return MarkdownAnswer(style, new_id=lambda: next(ids), sources=set(sources), tools={"python"}, repairs=repairs)


def text_of(core: MarkdownAnswer, events: Iterable[Event]) -> str:
    """What a client would read."""
    shown = [shown for event in events for shown in core.feed(event)]
    return "".join(event.text for event in shown if isinstance(event, Token) and event.channel == "content")


def words(text: str, turn: int = 0) -> Token:
    return Token(turn=turn, channel="content", text=text)


@dataclass
class Call:
    """A call of code, statement by statement: its text, and what it prints."""

    statements: Sequence[tuple[str, str]]
    turn: int = 0
    id: str = "call_1"
    fragments: int = 1000
    batches: Iterable[int] = field(default_factory=lambda: itertools.count())

    def events(self) -> list[Event]:
        events: list[Event] = [CodeStart(call_id=self.id, turn=self.turn, source="tool", language="python")]
        end = 0
        for number, (source, printed) in enumerate(self.statements):
            for start in range(0, len(source), self.fragments):
                text = source[start : start + self.fragments]
                events.append(Token(turn=self.turn, channel="code", text=text, call_id=self.id))
            end += len(source)
            events.append(
                ChunkDetected(call_id=self.id, chunk=number, start=end - len(source), end=end, line=1, gated=None)
            )
            events += executed(self.id, number, printed)
        events.append(TurnEnd(turn=self.turn, finish_reason="tool_calls", usage=None))
        code = "".join(source for source, _ in self.statements)
        events.append(CodeEnd(call_id=self.id, code=code, status="ok", ran=len(self.statements), chunks=0))
        return events


def executed(call_id: str, number: int, printed: str) -> list[Event]:
    output: list[Event] = [ExecOutput(call_id=call_id, batch=number, stream="stdout", text=printed)] if printed else []
    return [
        ExecStart(call_id=call_id, batch=number, chunks=[number]),
        *output,
        ExecEnd(call_id=call_id, batch=number, status="ok", duration_ms=1),
    ]


def begun() -> Event:
    return Start(id="chatcmpl-1", model="m", session="", container_id="")


def done() -> Event:
    return Done(finish_reason="stop", usage=None, timing=TIMING)


def fences(markdown: str) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks that stand at the top level."""
    tokens = PARSER.parse(markdown)
    return [(token.info, token.content) for token in tokens if token.type == "fence" and token.level == 0]


def kinds(markdown: str) -> list[str]:
    """What stands at the top level, in order."""
    return [token.type for token in PARSER.parse(markdown) if token.level == 0 and token.nesting >= 0]
