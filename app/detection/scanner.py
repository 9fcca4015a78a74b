"""The characters of Python, read incrementally, whatever the split of the fragments.

How it works. ``_scan`` hands the text to the reader of the current mode. Each reader takes what it understands, sets
the next mode and returns the index at which reading goes on. The whole state is the mode, the open brackets and a few
integers. So a fragment costs its own length, and nothing is read twice:

    LINE ──▶ WORD ──▶ CODE ──▶ LINE        a logical line: its indentation, its first word, the rest, its newline
    CODE ──▶ QUOTE ──▶ STRING ──▶ CODE     strings; f-strings from 3.12 on QUOTE ──▶ FSTRING ◀─▶ CODE (strings.py)
    LINE, CODE ──▶ COMMENT or BACKSLASH    and back
    CODE ──▶ AFTER ──▶ WORD or LINE        after a semicolon at which the subclass ended a chunk
    LINE, CODE ──▶ MAGIC ──▶ LINE          IPython's lines; CELL is a cell magic and takes the rest
    any ──▶ DEAD                           the text can never become valid: ``problem`` says why

What the lines mean is left to the subclass. Its ``_on_*`` methods are called at every boundary of a logical line, and
take the text there.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from app.detection.source import (
    AFTER,
    BACKSLASH,
    CELL,
    CODE,
    COMMENT,
    DEAD,
    FSTRING,
    LINE,
    MAGIC,
    QUOTE,
    STRING,
    WORD,
)
from app.detection.strings import NULL_BYTES, Field, FString, StringReader

# Longer than any keyword: of a longer word nothing has to be known but that it is longer.
_WORD_LIMIT: Final = 16
# MAXLEVEL of CPython's tokenizer.
_BRACKET_LIMIT: Final = 200

_CODE_RUN = re.compile(r"""[^'"#()\[\]{}\\\r\n:;\0]+""")
_CODE_RUN_IPYTHON = re.compile(r"""[^'"#()\[\]{}\\\r\n:;\0!?%]+""")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff]+")
_SPACES = re.compile(r" +")
_REST_OF_LINE = re.compile(r"[^\r\n\0]+")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


def _after_newline(s: str, i: int) -> int:
    return i + 2 if s.startswith("\r\n", i) else i + 1


class Scanner(StringReader):
    def __init__(self, version: tuple[int, int], ipython: bool) -> None:
        super().__init__(version)
        self._ipython = ipython
        self._run = _CODE_RUN_IPYTHON if ipython else _CODE_RUN
        # The physical line: its indentation as CPython measures it, with tabs of 8 and of 1.
        self._column = self._alt = 0
        self._backslash_column = 0
        self._blank = True  # nothing but blank lines so far
        # The logical line.
        self._word = ""
        self._line_at = 0
        self._colon = -2  # offset after its last ":" outside brackets
        self._after_backslash = CODE
        self._continued = -1  # offset after the last backslash and newline, which something has to follow
        self._crlf_may_be_last = version < (3, 12)  # there CPython overlooks that nothing follows a "\\\r\n"
        self._cell_possible = self._magic_continues = False

    # What a subclass makes of the lines. ``offset`` is the number of characters that were needed to know.

    @abstractmethod
    def _on_line(self, column: int, alt: int) -> None:
        """A logical line begins a physical line."""

    @abstractmethod
    def _on_word_part(self) -> None:
        """``_word`` is its first word, as far as it is read."""

    @abstractmethod
    def _on_word(self, offset: int) -> None:
        """``_word`` is its whole first word, ``@``, or empty if it starts with something else."""

    @abstractmethod
    def _on_magic(self) -> None:
        """The rest of the line is IPython's."""

    @abstractmethod
    def _on_comment(self, offset: int) -> None:
        """Its code is over, a comment follows from ``offset`` on."""

    @abstractmethod
    def _on_inner_newline(self, offset: int) -> None:
        """A physical line of it ends inside brackets."""

    @abstractmethod
    def _on_semicolon(self, offset: int) -> None: ...

    @abstractmethod
    def _on_line_end(self, offset: int) -> None: ...

    def _scan(self, text: str) -> None:
        i, end = 0, len(text)
        while i < end:
            i = _READERS[self._mode](self, text, i)

    def _finish(self) -> None:
        """The code is over: ends the line that is open, or fails."""
        self._read_held()
        end = self._at
        if self._mode == DEAD:
            return
        if self._mode == QUOTE and self._quotes == 2:
            self._significant, self._mode = end, CODE
        if self._mode in (QUOTE, STRING, FSTRING):
            self._unterminated(end)
        elif self._mode == BACKSLASH or self._continued == end:
            self._fail("unexpected EOF while parsing", end)
        elif self._stack:
            last = self._stack[-1]
            message = f"'{last[0]}' was never closed" if isinstance(last, tuple) else "f-string: expecting '}'"
            self._fail(message, end, line=self._line_number(last[1] if isinstance(last, tuple) else last.offset))
        else:
            if self._mode == WORD:
                self._on_word(end)
            self._newline(end)

    # Lines.

    def _newline(self, offset: int) -> None:
        if self._significant >= 0 and self._mode != DEAD:
            self._on_line_end(offset)
            self._significant = -1
        if self._mode != DEAD:
            self._mode = LINE
        self._column = self._alt = self._backslash_column = 0

    def _open_line(self, offset: int) -> None:
        self._word = ""
        self._line_at = self._significant = offset
        self._colon = -2
        self._mode = WORD

    def _read_line(self, s: str, i: int) -> int:
        """Indentation, and lines that have nothing else."""
        end = len(s)
        while i < end:
            c = s[i]
            if c == " ":
                width = _SPACES.match(s, i).end() - i  # type: ignore[union-attr]  # there is one
                self._column += width
                self._alt += width
                i += width
            elif c in "\r\n":
                i = _after_newline(s, i)
                self._column = self._alt = self._backslash_column = 0
            elif c == "\t":
                self._column = (self._column // 8 + 1) * 8
                self._alt += 1
                i += 1
            elif c == "\f":
                self._column = self._alt = 0
                i += 1
            elif c == "#":
                self._mode, self._blank = COMMENT, False
                return i + 1
            elif c == "\\":
                # The first backslash settles the indentation, unless it stands in column 0.
                self._backslash_column = self._backslash_column or self._column
                self._mode, self._after_backslash = BACKSLASH, LINE
                return i + 1
            elif c == "\ufeff" and self._at + i == 0:
                i += 1
            else:
                return self._read_first(s, i)
        return i

    def _read_first(self, s: str, i: int) -> int:
        """The first character of a logical line."""
        self._cell_possible, self._blank = self._blank, False
        self._open_line(self._at + i)
        self._on_line(self._backslash_column or self._column, self._backslash_column or self._alt)
        if self._ipython and s[i] in "%!?" and self._mode == WORD:
            self._on_word(self._at + i + 1)
            self._start_magic()
            self._cell_possible = self._cell_possible and s[i] == "%"
            return i + 1
        return i

    def _read_word(self, s: str, i: int) -> int:
        if match := _IDENTIFIER.match(s, i):
            if len(self._word) < _WORD_LIMIT:
                self._word += match.group()[:_WORD_LIMIT]
            i = match.end()
            self._significant = self._at + i
            self._on_word_part()
            if i == len(s) or self._mode == DEAD:
                return i
        if not self._word and s[i] == "@":
            self._word = "@"
            i += 1
            self._significant = self._at + i
            self._on_word(self._at + i)
        else:
            self._on_word(self._at + i + 1)
        if self._mode == WORD:
            self._mode = CODE
        return i

    def _read_after(self, s: str, i: int) -> int:
        """After a semicolon: nothing, or another statement."""
        c = s[i]
        if c in " \t\f":
            return i + 1
        if c in "\r\n":
            i = _after_newline(s, i)
            self._newline(self._at + i)
            return i
        if c == "#":
            self._mode = COMMENT
            return i + 1
        if c == "\\":
            self._mode, self._after_backslash = BACKSLASH, AFTER
            return i + 1
        if c == ";":
            return self._fail("invalid syntax", self._at + i + 1)
        self._open_line(self._at + i)
        return i

    # Code.

    def _read_code(self, s: str, i: int) -> int:
        at, end = self._at, len(s)
        run, stack = self._run, self._stack
        while i < end:
            if match := run.match(s, i):
                stop = match.end()
                if width := len(s[i:stop].rstrip(" \t\f")):
                    self._significant = at + i + width
                i = stop
                if i == end:
                    break
            c = s[i]
            i += 1
            if c == "\n" or c == "\r":
                i = _after_newline(s, i - 1)
                if not stack:
                    self._newline(at + i)
                    return i
                self._on_inner_newline(at + i)
            elif c == '"' or c == "'":
                return self._open_quote(c, s, i)
            elif c in "([{":
                self._significant = at + i
                stack.append((c, at + i - 1))
                if len(stack) > _BRACKET_LIMIT:
                    self._check_depth(at + i)
            else:
                self._read_punctuation(c, at + i)
            if self._mode != CODE:
                break
        return i

    def _read_punctuation(self, c: str, offset: int) -> None:
        """What is neither a run of code, a line end, an opening bracket nor a quote."""
        if c == "#":
            if not self._stack and self._significant >= 0:
                self._on_comment(offset - 1)
            if self._mode != DEAD:
                self._mode = COMMENT
            return
        if c == "\\":
            self._mode, self._after_backslash = BACKSLASH, CODE
            return
        magic = c in "?!%" and not self._stack and (c == "?" or self._follows_assignment())
        self._significant = offset
        if c in ")]}":
            self._close_bracket(c, offset)
        elif c == "\0":
            self._fail(NULL_BYTES, offset)
        elif not self._stack:
            if c == ":":
                self._colon = offset
            elif c == ";":
                self._on_semicolon(offset)
            elif magic:
                self._cell_possible = False
                self._start_magic()
        elif c == ":" and isinstance(field := self._stack[-1], Field):
            field.spec = True
            self._back_to_fstring()

    def _close_bracket(self, c: str, offset: int) -> None:
        if not self._stack:
            self._fail(f"unmatched '{c}'", offset)
            return
        last = self._stack.pop()
        if isinstance(last, Field) and c == "}":
            self._back_to_fstring()
            return
        opening, at = last if isinstance(last, tuple) else ("{", last.offset)
        if _CLOSING[opening] != c or isinstance(last, Field):
            line = self._line_number(at)
            where = "" if line == self._line_number(offset - 1) else f" on line {line}"
            self._fail(f"closing parenthesis '{c}' does not match opening parenthesis '{opening}'{where}", offset)

    def _check_depth(self, offset: int) -> None:
        if sum(not isinstance(entry, FString) for entry in self._stack) > _BRACKET_LIMIT:
            self._fail("too many nested parentheses", offset)

    def _read_comment(self, s: str, i: int) -> int:
        if match := _REST_OF_LINE.match(s, i):
            i = match.end()
            if i == len(s):
                return i
        if s[i] == "\0":
            return self._fail(NULL_BYTES, self._at + i + 1)
        i = _after_newline(s, i)
        if self._stack:
            self._mode = CODE
            self._on_inner_newline(self._at + i)
        else:
            self._newline(self._at + i)
        return i

    def _read_backslash(self, s: str, i: int) -> int:
        if s[i] not in "\r\n":
            return self._fail("unexpected character after line continuation character", self._at + i + 1)
        crlf = s.startswith("\r\n", i)
        i = _after_newline(s, i)
        self._continued = -1 if crlf and self._crlf_may_be_last else self._at + i
        self._mode = self._after_backslash
        return i

    # IPython.

    def _start_magic(self) -> None:
        if self._mode != DEAD:
            self._mode, self._magic_continues = MAGIC, False
            self._on_magic()

    def _follows_assignment(self) -> bool:
        """Is the last significant character a lone ``=``?"""
        last = self._significant - 1
        return self._character(last) == "=" and self._character(last - 1) not in ("=", "!", "<", ">")

    def _read_magic(self, s: str, i: int) -> int:
        """To the end of the line, which a backslash at its end carries over to the next."""
        if self._cell_possible:
            self._cell_possible = False
            if s[i] == "%":
                self._mode = CELL
                return i
        if match := _REST_OF_LINE.match(s, i):
            i = match.end()
            self._magic_continues = s[i - 1] == "\\"
            if i == len(s):
                return i
        if s[i] == "\0":
            return self._fail(NULL_BYTES, self._at + i + 1)
        i = _after_newline(s, i)
        if self._magic_continues:
            self._magic_continues = False
        else:
            self._newline(self._at + i)
        return i

    def _read_rest(self, s: str, i: int) -> int:
        return len(s)


_READERS: Final[tuple[Callable[[Scanner, str, int], int], ...]] = (
    Scanner._read_line,
    Scanner._read_word,
    Scanner._read_code,
    Scanner._read_comment,
    Scanner._read_quote,
    Scanner._read_string,
    Scanner._read_fstring,
    Scanner._read_backslash,
    Scanner._read_after,
    Scanner._read_magic,
    Scanner._read_rest,
    Scanner._read_rest,
)
