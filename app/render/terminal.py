"""What a terminal would show in the end: carriage returns, backspaces and escape sequences are carried out.

Lines are given when they are over: what is not over may yet be written anew.
"""

from __future__ import annotations

import re

#: Longest line that is looked at; the rest of a longer one is passed on as it comes.
MAX_LINE_CHARS = 10_000
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)


class TerminalLines:
    """``feed`` returns the lines that are over by then, ``flush`` what is left."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._chars = 0

    def __repr__(self) -> str:
        return f"<TerminalLines held={self._chars}>"

    def feed(self, text: str) -> str:
        done, newline, rest = text.rpartition("\n")
        over = ""
        if newline:
            over = _shown("".join([*self._parts, done])) + "\n"
            self._parts, self._chars = [], 0
        self._parts.append(rest)
        self._chars += len(rest)
        if self._chars > MAX_LINE_CHARS:
            over += self.flush()
        return over

    def flush(self) -> str:
        text, self._parts, self._chars = "".join(self._parts), [], 0
        return _shown(text)


def _shown(text: str) -> str:
    if "\r" not in text and "\b" not in text and "\x1b" not in text and "\x9b" not in text:
        return text
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    line = _ESCAPES.sub("", line.removesuffix("\r"))
    if "\r" not in line and "\b" not in line:
        return line
    cells: list[str] = []
    position = 0
    for char in line:
        if char == "\r":
            position = 0
        elif char == "\b":
            position = max(0, position - 1)
        else:
            cells[position : position + 1] = [char]
            position += 1
    return "".join(cells)
