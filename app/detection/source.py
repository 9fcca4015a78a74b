"""The text of the code in fragments: kept in pieces, cut where a boundary is found, and joined once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from app.detection.chunk import SyntaxProblem

# The modes of the scanner; scanner.py draws how they follow each other.
LINE, WORD, CODE, COMMENT, QUOTE, STRING, FSTRING, BACKSLASH, AFTER, MAGIC, CELL, DEAD = range(12)

# So many pieces are joined to one as they come: half a million tokens at once would hold the event loop for 6 ms.
_MOST_PIECES: Final = 500
_PREFIX_LIMIT: Final = 3  # characters: a string prefix has two, and the one before tells whether it is a prefix


class Source(ABC):
    """The fragments not yet taken, and the mode in which they are read. Offsets count characters of the whole code."""

    def __init__(self) -> None:
        self._problem: SyntaxProblem | None = None
        self._mode = LINE
        self._parts: list[str] = []
        self._joined = 0  # how many of them are joined pieces
        self._text = ""  # the fragment being read
        self._at = 0  # its offset
        self._cut = 0  # how much of it is taken
        self._held = ""  # a "\r" that may be half of a line end
        self._before = ""  # the last characters before it

    @abstractmethod
    def _scan(self, text: str) -> None:
        """Reads ``text``, taking from it what is complete."""

    @abstractmethod
    def _line_number(self, offset: int) -> int:
        """Line (from 1) of a character that is not emitted yet."""

    def _read(self, fragment: str) -> None:
        text = self._held + fragment if self._held else fragment
        self._held = ""
        if text.endswith("\r"):
            self._held, text = "\r", text[:-1]
        self._read_whole(text)

    def _read_held(self) -> None:
        held, self._held = self._held, ""
        self._read_whole(held)

    def _read_whole(self, text: str) -> None:
        self._text, self._cut = text, 0
        self._scan(text)
        if self._cut < len(text):
            self._keep(text[self._cut :] if self._cut else text)
        self._text, self._cut = "", 0
        self._at += len(text)
        self._before = (self._before + text)[-_PREFIX_LIMIT:] if len(text) < _PREFIX_LIMIT else text[-_PREFIX_LIMIT:]

    def _keep(self, text: str) -> None:
        parts = self._parts
        parts.append(text)
        if len(parts) > self._joined + _MOST_PIECES:
            parts[self._joined :] = ["".join(parts[self._joined :])]
            self._joined += 1

    def _take(self, offset: int) -> str:
        """The text from where it was last taken up to ``offset``, which lies in the fragment being read."""
        end = offset - self._at
        text = self._text[self._cut : end]
        self._cut = end
        if self._parts:
            self._parts.append(text)
            text = "".join(self._parts)
            self._parts.clear()
            self._joined = 0
        return text

    def _peek(self, offset: int) -> str:
        """What ``_take`` would take."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
            self._joined = 0
        return "".join(self._parts) + self._text[self._cut : offset - self._at]

    def _untaken(self) -> str:
        return "".join(self._parts) + self._text[self._cut :] + self._held

    def _fail(self, message: str, offset: int, kind: str = "SyntaxError", line: int | None = None) -> int:
        """The text can never become valid, which its first ``offset`` characters show; ``line`` is the one to blame,
        by default that of the last of them. Returns the index at which reading ends."""
        assert self._mode != DEAD
        self._mode = DEAD
        self._problem = SyntaxProblem(message, line or self._line_number(offset - 1), offset, kind)
        return len(self._text)

    def _character(self, offset: int) -> str:
        """A character of the line being read; the walk back ends at the piece that holds it."""
        if offset >= self._at + self._cut:
            return self._text[offset - self._at]
        start = self._at
        for part in reversed(self._parts):
            start -= len(part)
            if offset >= start:
                return part[offset - start]
        return ""
