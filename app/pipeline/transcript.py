"""What the model is told about the code it wrote: what a terminal would show in the end, and of what was displayed its
words. The middle of long output is left out."""

from __future__ import annotations

from typing import Final

from app.render.terminal import TerminalLines
from app.render.words import words
from app.sandbox.worker.messages import Display, Failure, Output, Result

#: Characters of one block's output that are shown to a model; the middle of more is left out.
LIMIT_CHARS: Final = 32_000
#: Lines that a program can write anew, as progress bars do.
_REACH_LINES: Final = 64


class Transcript:
    """Collects what a block said, as text, keeping its beginning and its end."""

    def __init__(self, limit_chars: int = LIMIT_CHARS) -> None:
        self._half = limit_chars // 2
        self._head: list[str] = []
        self._tail = ""
        self._terminal = TerminalLines(_REACH_LINES, self._clear)
        self._clear()

    def __repr__(self) -> str:
        return f"<Transcript {self._chars} characters>"

    def add(self, said: Output | Display | Result) -> None:
        match said:
            case Output(text=text):
                self._append(self._terminal.feed(text))
            case Display(data=data) | Result(data=data):
                self._append_below(words(data))

    def fail(self, failure: Failure) -> None:
        self._append_below(failure.traceback or f"{failure.headline}\n")

    def note(self, text: str) -> None:
        self._append_below(text)

    def __str__(self) -> str:
        rest = self._terminal.rest
        if self._chars + len(rest) <= 2 * self._half:
            return "".join(self._head) + self._tail + rest
        head = "".join([*self._head, self._tail, rest])[: self._half]
        tail = (self._tail + rest)[-self._half :] if self._half else ""
        chars, lines = self._chars + len(rest), self._lines + rest.count("\n")
        left_out = chars - len(head) - len(tail)
        return f"{head}\n[... {left_out:,} of {chars:,} characters ({lines:,} lines) left out ...]\n{tail}"

    def _append_below(self, text: str) -> None:
        """On a line of its own, out of the cursor's reach."""
        rest = self._terminal.flush()
        self._append(f"{rest}\n{text}" if rest and not rest.endswith("\n") else rest + text)

    def _append(self, text: str) -> None:
        self._chars += len(text)
        self._lines += text.count("\n")
        if (room := self._half - self._head_chars) > 0:
            self._head.append(text[:room])
            self._head_chars += len(self._head[-1])
            text = text[room:]
        if text:
            self._tail = (self._tail + text)[-self._half :]

    def _clear(self) -> None:
        """All that was shown is gone."""
        self._head = []
        self._head_chars = self._chars = self._lines = 0
        self._tail = ""
