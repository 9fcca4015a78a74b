"""What a request looks like so far, built from its events one by one (PROTOCOL.md 7). Pure: no clock, no terminal.

Events come from a server that may be anything: fields are read with defaults, text is stripped of control characters,
and no more output is kept than can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ChunkState = Literal["pending", "running", "done", "failed", "skipped"]

_OUTPUT_CHARS_KEPT: Final = 64 * 1024
#: Everything a terminal could obey, save newline and tab.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: object) -> str:
    """``text`` as it may be shown in a terminal."""
    return _CONTROL.sub("", str(text))


@dataclass(slots=True)
class WrittenChunk:
    """A chunk: where it stands in its code, and how far it is."""

    start: int
    end: int
    line: int
    gated: str | None
    state: ChunkState = "pending"


@dataclass(slots=True)
class WrittenCode:
    """One block of code, as far as it is written."""

    text: str = ""
    chunks: dict[int, WrittenChunk] = field(default_factory=dict)

    def source(self, chunk: int) -> str:
        piece = self.chunks[chunk]
        return self.text[piece.start : piece.end]

    def states_by_line(self) -> list[ChunkState | None]:
        """The state of each line; None where no chunk was detected yet."""
        states: list[ChunkState | None] = [None] * (self.text.count("\n") + 1)
        for piece in self.chunks.values():
            last = piece.line + self.text[piece.start : piece.end].rstrip("\n").count("\n")
            for line in range(piece.line, min(last, len(states)) + 1):
                states[line - 1] = piece.state
        return states


@dataclass(slots=True)
class Span:
    """A stretch of time, in milliseconds. ``end`` is None while it lasts."""

    start: float
    end: float | None = None


class Timeline:
    """Apply each event in order; read the rest."""

    def __init__(self) -> None:
        self.model = ""
        self.text = ""
        self.codes: dict[str, WrittenCode] = {}
        self.output: list[tuple[str, str]] = []
        self.generation: list[Span] = []
        self.execution: list[Span] = []
        self.interrupted: str | None = None
        self.problems: list[str] = []
        self.timing: Mapping[str, Any] | None = None
        self.elapsed_ms = 0.0
        self._batches: dict[tuple[str, int], list[int]] = {}
        self._output_chars = 0
        self._last_token_ms = 0.0

    def __repr__(self) -> str:
        return f"<Timeline {len(self.codes)} codes, {self.elapsed_ms:.0f} ms{', finished' if self.finished else ''}>"

    @property
    def finished(self) -> bool:
        """``done`` has come."""
        return self.timing is not None

    @property
    def failed(self) -> bool:
        """Some code or the request itself failed, or the stream ended before its time."""
        return bool(self.problems) or not self.finished

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event. Unknown types only move the clock."""
        self.elapsed_ms = max(self.elapsed_ms, float(event.get("t_ms", 0)))
        handler = self._HANDLERS.get(event.get("type", ""))
        if handler is not None:
            handler(self, event)

    def _start(self, event: Mapping[str, Any]) -> None:
        self.model = printable(event.get("model", ""))
        self.generation.append(Span(0.0))

    def _token(self, event: Mapping[str, Any]) -> None:
        if self.generation and self.generation[-1].end is not None:  # the next turn
            self.generation.append(Span(self.generation[-1].end))
        self._last_token_ms = self.elapsed_ms
        if event.get("channel") == "code":
            self._code(event).text += event.get("text", "")
        else:
            self.text += printable(event.get("text", ""))

    def _chunk(self, event: Mapping[str, Any]) -> None:
        piece = WrittenChunk(event["start"], event["end"], event["line"], event.get("gated"))
        self._code(event).chunks[event["chunk"]] = piece

    def _exec_start(self, event: Mapping[str, Any]) -> None:
        self.execution.append(Span(self.elapsed_ms))
        self._batches[event["call_id"], event["batch"]] = event["chunks"]
        self._mark(event, "pending", "running")

    def _exec_output(self, event: Mapping[str, Any]) -> None:
        self._say(str(event.get("stream", "stdout")), printable(event.get("text", "")))

    def _exec_result(self, event: Mapping[str, Any]) -> None:
        if event.get("repr"):
            self._say("result", printable(event["repr"]) + "\n")
        if event.get("images"):
            self._say("result", f"[{len(event['images'])} image]\n")

    def _exec_error(self, event: Mapping[str, Any]) -> None:
        where = f" in line {event['line']}" if event.get("line") else ""
        problem = printable(f"{event.get('ename')}: {event.get('evalue')}")
        self.problems.append(problem + where)
        self._say("error", f"{problem}{where}\n")
        for chunk in self._batches.get((event["call_id"], event.get("batch", -1)), []):
            if chunk < event["chunk"]:
                self._set(event, chunk, "done")
        self._set(event, event["chunk"], "failed")

    def _exec_end(self, event: Mapping[str, Any]) -> None:
        self._close(self.execution)
        self._mark(event, "running", "done" if event.get("status") == "ok" else "skipped")

    def _code_end(self, event: Mapping[str, Any]) -> None:
        for piece in self._code(event).chunks.values():
            if piece.state in ("pending", "running"):
                piece.state = "skipped"

    def _interrupt(self, event: Mapping[str, Any]) -> None:
        self.interrupted = printable(event.get("reason", ""))
        self._end_generation()

    def _turn_end(self, event: Mapping[str, Any]) -> None:
        self._end_generation()

    def _error(self, event: Mapping[str, Any]) -> None:
        error = event.get("error") or {}
        self.problems.append(printable(error.get("message", error)))

    def _done(self, event: Mapping[str, Any]) -> None:
        self.timing = event.get("timing") or {}
        self._end_generation()
        self._close(self.execution)

    _HANDLERS: Final = {
        "start": _start,
        "token": _token,
        "chunk": _chunk,
        "exec.start": _exec_start,
        "exec.output": _exec_output,
        "exec.result": _exec_result,
        "exec.error": _exec_error,
        "exec.end": _exec_end,
        "code.end": _code_end,
        "interrupt": _interrupt,
        "turn.end": _turn_end,
        "error": _error,
        "done": _done,
    }

    def _code(self, event: Mapping[str, Any]) -> WrittenCode:
        return self.codes.setdefault(str(event.get("call_id")), WrittenCode())

    def _set(self, event: Mapping[str, Any], chunk: int, state: ChunkState) -> None:
        if piece := self._code(event).chunks.get(chunk):
            piece.state = state

    def _mark(self, event: Mapping[str, Any], before: ChunkState, after: ChunkState) -> None:
        """Move the chunks of the event's batch from one state to another."""
        pieces = self._code(event).chunks
        for chunk in self._batches.get((event["call_id"], event["batch"]), []):
            if chunk in pieces and pieces[chunk].state == before:
                pieces[chunk].state = after

    def _end_generation(self) -> None:
        """With its last token: what tells its end may come later."""
        if self.generation and self.generation[-1].end is None:
            self.generation[-1].end = max(self._last_token_ms, self.generation[-1].start)

    def _close(self, spans: list[Span]) -> None:
        if spans and spans[-1].end is None:
            spans[-1].end = self.elapsed_ms

    def _say(self, stream: str, text: str) -> None:
        """Keep ``text``, and forget the oldest output beyond the limit."""
        self.output.append((stream, text[-_OUTPUT_CHARS_KEPT:]))
        self._output_chars += len(self.output[-1][1])
        while self._output_chars > _OUTPUT_CHARS_KEPT and len(self.output) > 1:
            self._output_chars -= len(self.output.pop(0)[1])
