"""Whether Python code is inside a triple-quoted string at the end of a line."""

from __future__ import annotations

import re

_OPENING = re.compile(r"'''|\"\"\"|'|\"|#")
_CLOSING = {quote: re.compile(rf"\\(?:.|\n|\Z)|{quote}", re.DOTALL) for quote in ("'''", '"""', "'", '"')}


class PythonStrings:
    """Fed whole lines. ``closings`` counts the triple-quoted strings that were closed.

    Quotes nested in f-strings (Python 3.12) may be misread within a line; a string of one line is over at its end.
    """

    def __init__(self) -> None:
        self.closings = 0
        self._open: str | None = None

    def __repr__(self) -> str:
        return f"<PythonStrings open={self._open!r}>"

    @property
    def in_triple(self) -> bool:
        return self._open is not None and len(self._open) == 3

    def feed(self, line: str) -> None:
        position = 0
        continued = False
        while True:
            pattern = _OPENING if self._open is None else _CLOSING[self._open]
            match = pattern.search(line, position)
            if match is None:
                break
            position = match.end()
            if self._open is None:
                if match[0] == "#":
                    return
                self._open = match[0]
            elif match[0] == self._open:
                self.closings += self.in_triple
                self._open = None
            else:
                continued = match[0] == "\\\n" and position == len(line)
        if not self.in_triple and not continued:
            self._open = None
