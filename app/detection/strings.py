"""String literals, read incrementally; from 3.12 on f-strings (3.14: t-strings) with code in their fields (PEP 701).

An f-string and each of its open fields are entries on the stack of brackets. In mode FSTRING the text under the cursor
is literal. In mode CODE with a ``Field`` on the stack it is ordinary code. Before 3.12 an f-string is a string like any
other.
"""

from __future__ import annotations

import re
from typing import Final

from app.detection.source import CODE, FSTRING, QUOTE, STRING, Source

_LAST_IDENTIFIER = re.compile(r"[A-Za-z0-9_\x80-\ufefe\uff00-\U0010ffff]*\Z")  # a byte order mark is none
_LITERAL = {
    ('"', False): re.compile(r'[^"\\\r\n\0]+'),
    ("'", False): re.compile(r"[^'\\\r\n\0]+"),
    ('"', True): re.compile(r'[^"\\\0]+'),
    ("'", True): re.compile(r"[^'\\\0]+"),
}
_FSTRING_LITERAL = {'"': re.compile(r'[^"\\\r\n{}\0]+'), "'": re.compile(r"[^'\\\r\n{}\0]+")}

# What the character before means for the next one of a literal.
_PLAIN, _ESCAPED, _NAMED, _OPENED, _CLOSED = range(5)  # after: nothing special, "\", "\N", "{", "}"

NULL_BYTES: Final = "source code cannot contain null bytes"


class FString:
    """An open f-string or t-string."""

    __slots__ = ("offset", "quote", "raw", "triple")

    def __init__(self, quote: str, triple: bool, raw: bool, offset: int) -> None:
        self.quote, self.triple, self.raw, self.offset = quote, triple, raw, offset


class Field:
    """An open replacement field of ``fstring``; ``spec`` once its format specification has begun."""

    __slots__ = ("fstring", "offset", "spec")

    def __init__(self, fstring: FString, offset: int) -> None:
        self.fstring, self.offset, self.spec = fstring, offset, False


class StringReader(Source):
    def __init__(self, version: tuple[int, int]) -> None:
        super().__init__()
        self._field_prefixes: tuple[str, ...] = ("f", "fr", "rf") if version >= (3, 12) else ()
        if version >= (3, 14):
            self._field_prefixes += ("t", "tr", "rt")
        # Open brackets (each with its offset), f-strings and fields; empty on the outside.
        self._stack: list[tuple[str, int] | FString | Field] = []
        self._significant = -1  # offset after the last significant character of the logical line, -1 between lines
        self._quote = ""
        self._quote_at = 0
        self._quotes = 0  # how many of them stand directly before the cursor
        self._triple = False
        self._fstring_raw: bool | None = None  # the string that opens: None if it is no f-string
        self._escape = _PLAIN
        self._in_name = False  # of a "\N{...}" in an f-string

    @property
    def _in_fstring(self) -> bool:
        return any(isinstance(entry, FString) for entry in self._stack)

    def _open_quote(self, quote: str, s: str, i: int) -> int:
        """``quote`` stands before index ``i`` of the code ``s``."""
        self._fstring_raw = None
        if self._field_prefixes:
            before = s[i - 4 : i - 1] if i >= 4 else (self._before + s[: i - 1])[-3:]
            prefix = _LAST_IDENTIFIER.search(before).group().lower()  # type: ignore[union-attr]  # may be empty
            if prefix in self._field_prefixes:
                self._fstring_raw = "r" in prefix
        self._quote, self._quotes = quote, 1
        self._quote_at = self._at + i - 1
        self._triple = False
        self._mode = QUOTE
        return i

    def _read_quote(self, s: str, i: int) -> int:
        """One, two or three quotes: a string, an empty one, a triple-quoted one."""
        if s[i] == self._quote:
            self._quotes += 1
            i += 1
            if self._quotes < 3:
                return i
        elif self._quotes == 2:
            self._mode = CODE
            self._significant = self._at + i
            return i
        self._triple = self._quotes == 3
        self._quotes, self._escape = 0, _PLAIN
        if self._fstring_raw is None:
            self._mode = STRING
        else:
            self._mode, self._in_name = FSTRING, False
            self._stack.append(FString(self._quote, self._triple, self._fstring_raw, self._quote_at))
        return i

    def _read_string(self, s: str, i: int) -> int:
        end, quote = len(s), self._quote
        literal = _LITERAL[quote, self._triple]
        while i < end:
            if self._escape:
                self._escape = _PLAIN
                i += 2 if s.startswith("\r\n", i) else 1
                continue
            if match := literal.match(s, i):
                self._quotes = 0
                i = match.end()
                if i == end:
                    break
            c = s[i]
            i += 1
            if c == quote:
                self._quotes += 1
                if self._quotes == 3 or not self._triple:
                    self._mode = CODE
                    self._significant = self._at + i
                    break
                continue
            self._quotes = 0
            if c == "\\":
                self._escape = _ESCAPED
            elif c == "\0":
                return self._fail(NULL_BYTES, self._at + i)
            else:
                return self._unterminated(self._at + i)
        return i

    def _unterminated(self, offset: int) -> int:
        fstring = next((entry for entry in reversed(self._stack) if isinstance(entry, FString)), None)
        if self._mode == FSTRING and fstring is not None:
            name, triple, at = "f-string", fstring.triple, fstring.offset
        else:
            name = "string" if self._fstring_raw is None else "f-string"
            triple, at = self._triple, self._quote_at
        line = self._line_number(offset - 1)
        what = f"triple-quoted {name}" if triple else name
        return self._fail(f"unterminated {what} literal (detected at line {line})", offset, line=self._line_number(at))

    def _back_to_fstring(self) -> None:
        """A field, or its expression, ends."""
        self._mode = FSTRING
        self._quotes, self._escape = 0, _PLAIN

    def _read_fstring(self, s: str, i: int) -> int:
        """The literal text of an f-string, or of a format specification."""
        top = self._stack[-1]
        field = top if isinstance(top, Field) else None
        fstring = field.fstring if field else top
        assert isinstance(fstring, FString)
        if self._escape:
            return self._read_fstring_escape(fstring, s, i)
        if match := _FSTRING_LITERAL[fstring.quote].match(s, i):
            self._quotes = 0
            i = match.end()
            if i == len(s):
                return i
        c = s[i]
        if c == fstring.quote:
            return self._read_fstring_quote(fstring, field, i)
        self._quotes = 0
        if c == "{":
            if field:
                self._open_field(fstring, i)
            else:
                self._escape = _OPENED
        elif c == "}":
            if self._in_name:
                self._in_name = False
            elif field:
                self._stack.pop()
            else:
                self._escape = _CLOSED
        elif c == "\\":
            self._escape = _ESCAPED
        elif c == "\0":
            return self._fail(NULL_BYTES, self._at + i + 1)
        elif fstring.triple:
            return i + 2 if s.startswith("\r\n", i) else i + 1
        elif field:
            # A line end in the specification of a one-line f-string goes back to the expression, as in CPython.
            field.spec = False
            self._mode = CODE
            return i
        else:
            return self._unterminated(self._at + i + 1)
        return i + 1

    def _read_fstring_escape(self, fstring: FString, s: str, i: int) -> int:
        """The character after a special one."""
        escape, self._escape = self._escape, _PLAIN
        c = s[i]
        if escape == _ESCAPED:
            self._quotes = 0
            if c in "{}":  # a backslash does not hide a brace
                return i
            if c == "N" and not fstring.raw:
                self._escape = _NAMED
            return i + 2 if s.startswith("\r\n", i) else i + 1
        if escape == _NAMED:
            self._in_name = c == "{"
            return i + 1 if c == "{" else i
        if escape == _OPENED:
            if c == "{":
                return i + 1
            self._open_field(fstring, i)
            return i
        if c != "}":
            return self._fail("f-string: single '}' is not allowed", self._at + i + 1)
        return i + 1

    def _read_fstring_quote(self, fstring: FString, field: Field | None, i: int) -> int:
        self._quotes += 1
        if self._quotes == (3 if fstring.triple else 1):
            if field:
                return self._fail("f-string: expecting '}'", self._at + i + 1)
            self._stack.pop()
            self._mode = CODE
            self._significant = self._at + i + 1
            self._in_name = False
        return i + 1

    def _open_field(self, fstring: FString, i: int) -> None:
        self._stack.append(Field(fstring, self._at + i))
        self._mode = CODE
