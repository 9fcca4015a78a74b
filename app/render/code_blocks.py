"""One piece of code and all that happens to it, as blocks of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from app.events import (
    ChunkDetected,
    CodeEnd,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Rollback,
    Token,
)
from app.render.code_lane import CodeFirst, CodeInWords, CodeLane, Interleaved
from app.render.inline import escaped
from app.render.said import Link, Said

Style = Literal["markdown", "interleaved"]


class CodeBlocks:
    """``feed`` takes the events of the code and returns Markdown to append. ``in_words``: the code stands in the
    model's own text."""

    def __init__(self, style: Style, language: str, *, in_words: bool) -> None:
        self._said = Said()
        self._lane: CodeLane
        if in_words:
            self._lane = CodeInWords()
        elif style == "interleaved":
            self._lane = Interleaved(language)
        else:
            self._lane = CodeFirst(language)
        self._has_begun = False

    def __repr__(self) -> str:
        return f"<CodeBlocks {self._lane!r}>"

    def feed(self, event: Event, links: Sequence[Link]) -> str:
        lane, said = self._lane, self._said
        match event:
            case Token(text=text):
                return lane.code(text)
            case ChunkDetected(chunk=number, end=end, gated=gated):
                return lane.statement(number, end, waits=gated is not None)
            case ExecStart(chunks=chunks):
                self._has_begun = True
                return lane.begin(chunks)
            case ExecOutput(text=text):
                return lane.say(lambda: said.text(text))
            case ExecResult(data=data):
                return lane.say(lambda: said.value(data, links))
            case ExecError():
                return lane.say(lambda: said.error(event.ename, event.evalue, event.line, event.traceback))
            case ExecEnd():
                return lane.end(said.end_text)
            case Rollback(status="done"):
                return lane.say(lambda: said.sentence("What this code had done was undone."))
            case CodeEnd():
                return self._end(event, links)
        return ""

    def take_waiting(self) -> str:
        """Its place in the text has come: what it said before."""
        return self._lane.place()

    def written(self) -> str:
        return self._lane.written()

    def interrupted(self, reason: str, *, repairs: bool) -> str:
        if reason != "error":
            return ""
        told = (
            "The model was stopped here, and goes on with a correction." if repairs else "The model was stopped here."
        )
        return self._lane.say(lambda: self._said.sentence(told))

    def lost(self, reason: str) -> str:
        told = f"The interpreter was lost, with its variables ({escaped(reason)}). The next code begins anew."
        return self._lane.say(lambda: self._said.sentence(told))

    def close(self) -> str:
        return self._lane.rest() + self._said.end_text()

    def _end(self, end: CodeEnd, links: Sequence[Link]) -> str:
        written = self._lane.rest()
        if (sentence := _outcome(end, has_begun=self._has_begun)) is not None:
            written += self._lane.say(lambda: self._said.sentence(sentence))
        return written + self._lane.say(lambda: self._said.files(links))


def _outcome(end: CodeEnd, *, has_begun: bool) -> str | None:
    match end.status:
        case "timeout":
            return "The time limit was reached, and the code was stopped."
        case "interrupted" if not has_begun:
            return "This code was not run, since the code before it had failed."
        case "interrupted":
            return "The code was stopped."
        case "incomplete":
            return "The code was cut off. Its last statement was not run."
    return None
