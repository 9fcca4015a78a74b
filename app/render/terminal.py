"""What a terminal would show in the end: carriage returns, backspaces and escape sequences are carried out (ECMA-48).

Lines are given when they are out of the cursor's reach: until then they may yet be written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

#: Longest line that is kept; the beginning of a longer one is given as it is.
MAX_LINE_CHARS: Final = 10_000
_CONTROL: Final = re.compile(r"[\r\b\a\x1b\x9b]")
#: Each is bounded: what is longer is text, however it was cut.
_CSI: Final = r"(?:\x1b\[|\x9b)(?P<parameters>[0-?]{0,64})[ -/]{0,4}(?P<final>[@-~])"
_STRING: Final = r"\x1b(?:\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[PX^_][^\x1b]{0,4096}\x1b\\)"
_OTHER: Final = r"\x1b[ -/]{0,4}[0-OQ-WYZ\\`-~]"
_TOKEN: Final = re.compile(rf"[^\n\r\b\a\x1b\x9b]+|\n|\r+|\x08+|\a+|{_CSI}|{_STRING}|{_OTHER}")
#: The beginning of a sequence, at the end of what has come.
_UNFINISHED: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,4}|\x1b\][^\x07\x1b]{0,4096}\x1b?|\x1b[PX^_][^\x1b]{0,4096}\x1b?"
    r"|\x1b[ -/]{0,4}"
)


class TerminalLines:
    """``feed`` returns the lines that are over by then, ``flush`` what is left. ``reach_lines`` is how many lines the
    cursor can go up, ``on_clear`` is called when all that was written is gone."""

    def __init__(self, reach_lines: int = 0, on_clear: Callable[[], None] | None = None) -> None:
        self._reach = reach_lines
        self._on_clear = on_clear
        self._lines = [""]
        self._row = self._column = 0
        self._held = ""  # a sequence that has begun
        self._over: list[str] = []

    def __repr__(self) -> str:
        return f"<TerminalLines lines={len(self._lines)} at={self._row},{self._column} held={len(self._held)}>"

    @property
    def rest(self) -> str:
        """What is not over."""
        return "\n".join(self._lines)

    def feed(self, text: str) -> str:
        text, self._held = self._held + text, ""
        if self._at_end() and not _CONTROL.search(text):
            self._append(text)
        else:
            self._carry_out(text)
        over, self._over = "".join(self._over), []
        return over

    def flush(self) -> str:
        rest = self.rest
        self._lines, self._row, self._column, self._held = [""], 0, 0, ""
        return rest

    def _at_end(self) -> bool:
        return self._row == len(self._lines) - 1 and self._column == len(self._lines[-1])

    def _append(self, text: str) -> None:
        """Text without control characters, at the end of all."""
        first, *others = text.rsplit("\n", self._reach + 1)
        beyond = len(others) > self._reach  # whatever was there before these is out of reach then
        begun = 0 if beyond else len(self._lines[-1]) + len(first)
        if max([begun, *map(len, others)]) > MAX_LINE_CHARS:  # it is cut, and the cursor may go back to what is left
            self._carry_out(text)
            return
        if beyond:
            self._over += ("\n".join(self._lines), first, "\n")
            self._lines = others
        else:
            self._lines[-1] += first
            self._lines += others
        self._row, self._column = len(self._lines) - 1, len(self._lines[-1])
        self._give()

    def _carry_out(self, text: str) -> None:
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is not None:
                self._step(token)
                at = token.end()
            elif begun := _UNFINISHED.fullmatch(text, at):
                self._held = begun[0]
                return
            else:  # a sequence that never was one: without its first character it is text
                at += 1

    def _step(self, token: re.Match[str]) -> None:
        said = token[0]
        if token["final"] is not None:
            self._sequence(token["final"], token["parameters"])
        elif said == "\n":
            self._row, self._column = self._row + 1, 0
            if self._row == len(self._lines):
                self._lines.append("")
                self._give()
        elif said[0] == "\r":
            self._column = 0
        elif said[0] == "\b":
            self._column = max(0, self._column - len(said))
        elif said[0] not in "\a\x1b":
            self._write(said)

    def _write(self, text: str) -> None:
        line = self._lines[self._row].ljust(self._column)
        self._lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
        self._column += len(text)
        self._give()

    def _give(self) -> None:
        """What the cursor cannot reach any more."""
        if (beyond := len(self._lines) - 1 - self._reach) > 0:
            self._give_lines(beyond)
        line = self._lines[self._row]
        if len(line) > MAX_LINE_CHARS:
            self._give_lines(self._row)
            given = (len(line) - 1) // MAX_LINE_CHARS * MAX_LINE_CHARS
            self._over.append(line[:given])
            self._lines[self._row] = line[given:]
            self._column = max(0, self._column - given)

    def _give_lines(self, count: int) -> None:
        for line in self._lines[:count]:
            self._over += (line, "\n")
        del self._lines[:count]
        self._row = max(0, self._row - count)

    def _sequence(self, final: str, parameters: str) -> None:
        first, _, second = parameters.partition(";")
        number = int(first) if first.isascii() and first.isdecimal() and len(first) < 6 else 0
        count = min(max(number, 1), MAX_LINE_CHARS)
        match final:
            case "A" | "F":
                self._row = max(0, self._row - count)
            case "B" | "E":
                self._row = min(len(self._lines) - 1, self._row + count)
            case "C":
                self._column = min(self._column + count, MAX_LINE_CHARS)
            case "D":
                self._column = max(0, self._column - count)
            case "G":
                self._column = count - 1
            case "H" | "f":  # of the lines in reach, as if they were the screen
                column = int(second) if second.isascii() and second.isdecimal() and len(second) < 6 else 1
                self._row = min(count, len(self._lines)) - 1
                self._column = min(max(column, 1), MAX_LINE_CHARS) - 1
            case "J":
                self._erase_lines(number)
            case "K":
                self._erase(number)
        if final in "EF":
            self._column = 0

    def _erase(self, what: int) -> None:
        """Of the line: what is behind the cursor, before it, or all."""
        line = self._lines[self._row]
        if what == 0:
            line = line[: self._column]
        elif what == 1:
            line = " " * min(self._column + 1, len(line)) + line[self._column + 1 :]
        else:
            line = ""
        self._lines[self._row] = line

    def _erase_lines(self, what: int) -> None:
        if what == 0:
            self._erase(0)
            del self._lines[self._row + 1 :]
        elif what in (2, 3):
            self._lines, self._row, self._column, self._over = [""], 0, 0, []
            if self._on_clear is not None:
                self._on_clear()
