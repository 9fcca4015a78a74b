"""Where a JSON object ends, from fragments cut anywhere and without decoding it."""

from __future__ import annotations

import re

_IN_STRING = re.compile(r'["\\]')
_VISIBLE = re.compile(r"\S")
_OUTSIDE = re.compile(r'["{}\[\]]')


class ObjectExtent:
    """``complete`` behind the closing brace. Text that starts otherwise has no end of its own."""

    def __init__(self) -> None:
        self.complete = False
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._other = False

    def __repr__(self) -> str:
        return f"<ObjectExtent depth={self._depth} complete={self.complete}>"

    @property
    def unfinished(self) -> bool:
        """Amid the object."""
        return self._depth > 0

    @property
    def in_string(self) -> bool:
        """Amid one of its texts."""
        return self._in_string

    def feed(self, text: str, start: int = 0) -> int:
        """The position behind the object's end, or -1 while there is none in ``text``, which is read from ``start``."""
        if self._other or self.complete or start >= len(text):
            return -1
        position = start + int(self._escaped)
        if self._depth == 0:
            first = _VISIBLE.search(text, start)
            if first is None or first[0] != "{":
                self._other = first is not None
                return -1
            position = first.start()
        self._escaped = False
        while match := (_IN_STRING if self._in_string else _OUTSIDE).search(text, position):
            position = match.end()
            mark = match[0]
            if mark == '"':
                self._in_string = not self._in_string
            elif mark == "\\":
                self._escaped = position >= len(text)
                position += 1
            elif mark in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self.complete = True
                    return position
        return -1
