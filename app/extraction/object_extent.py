"""Where a JSON object ends, from fragments cut anywhere and without decoding it."""

from __future__ import annotations

import re

_IN_STRING = re.compile(r'["\\]')
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
        return self._depth > 0

    def feed(self, text: str) -> int:
        """The position behind the object's end, or -1 while there is none in ``text``."""
        if self._other or self.complete or not text:
            return -1
        if self._depth == 0:
            stripped = text.lstrip()
            if not stripped.startswith("{"):
                self._other = bool(stripped)
                return -1
        position = int(self._escaped)
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
