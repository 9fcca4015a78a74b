"""The contents of a JSON string literal, from fragments cut anywhere (PROTOCOL.md 3.2).

Tolerant where models are sloppy: raw newlines and tabs are taken as they are, and an escape JSON does not know stands
for itself.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(r'["\\]')
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_LONGEST_ESCAPE = 6
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "'": "'"}
_REPLACEMENT = "\ufffd"


class JsonString:
    """Fed what follows the opening quote. ``feed`` returns the characters decoded and where it stopped reading: behind
    the closing quote once ``closed``, else at the end."""

    def __init__(self) -> None:
        self.closed = False
        self._escape = ""  # an escape that is not complete, with its backslash
        self._high = ""  # a high surrogate waiting for its other half

    def __repr__(self) -> str:
        return f"<JsonString closed={self.closed} escape={self._escape!r}>"

    def feed(self, text: str, start: int = 0) -> tuple[str, int]:
        decoded: list[str] = []
        position = self._finish_escape(decoded, text, start) if self._escape else start
        while match := _SPECIAL.search(text, position):
            at = match.start()
            if at > position:
                self._add(decoded, text[position:at])
            if text[at] == '"':
                self.closed = True
                decoded.append(self.flush())
                return "".join(decoded), at + 1
            position = self._take_escape(decoded, text, at)
            if position < 0:
                self._escape = text[at:]
                return "".join(decoded), len(text)
        if position < len(text):
            self._add(decoded, text[position:])
        return "".join(decoded), len(text)

    def flush(self) -> str:
        """The string is over: a half surrogate cannot find its pair any more, an unfinished escape is dropped."""
        half, self._high, self._escape = self._high, "", ""
        return _REPLACEMENT if half else ""

    def _finish_escape(self, decoded: list[str], text: str, start: int) -> int:
        """Complete the escape that a fragment ended in; the position behind it, or the end if it is still not whole."""
        known = len(self._escape)
        escape = self._escape + text[start : start + _LONGEST_ESCAPE]
        end = self._take_escape(decoded, escape, 0)
        if end < 0:
            self._escape = escape
            return len(text)
        self._escape = ""
        if end < known:  # it was none after all: what was kept are digits
            self._add(decoded, escape[end:known])
            end = known
        return start + end - known

    def _take_escape(self, decoded: list[str], text: str, at: int) -> int:
        """Decode the escape at ``at``; the position behind it, or -1 if it is not all there."""
        if at + 1 >= len(text):
            return -1
        kind = text[at + 1]
        if kind != "u":
            self._add(decoded, _ESCAPES.get(kind, "\\" + kind))
            return at + 2
        digits = text[at + 2 : at + 6]
        if _HEX.fullmatch(digits) is None:
            self._add(decoded, "\\u")
            return at + 2
        if len(digits) < 4:
            return -1
        self._add_unit(decoded, int(digits, 16))
        return at + 6

    def _add(self, decoded: list[str], text: str) -> None:
        if self._high:
            self._high = ""
            decoded.append(_REPLACEMENT)
        decoded.append(text)

    def _add_unit(self, decoded: list[str], unit: int) -> None:
        """A UTF-16 code unit: two halves of a pair make one character."""
        if 0xDC00 <= unit <= 0xDFFF and self._high:
            decoded.append(chr(0x10000 + ((ord(self._high) - 0xD800) << 10) + (unit - 0xDC00)))
            self._high = ""
        elif 0xD800 <= unit <= 0xDBFF:
            self._add(decoded, "")
            self._high = chr(unit)
        else:
            self._add(decoded, _REPLACEMENT if 0xDC00 <= unit <= 0xDFFF else chr(unit))
