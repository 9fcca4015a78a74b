"""Which lines may follow which: indentation, clauses, decorators. The part of CPython's grammar that needs no parser.

Each open indentation is a ``Suite``, as Python's reference calls the indented lines of a compound statement. It knows
which clause words may still continue its last statement. So the first characters of the next line decide whether the
statement goes on or is over.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_NONE: Final[frozenset[str]] = frozenset()
_IF: Final = frozenset({"elif", "else"})
_ELSE: Final = frozenset({"else"})
_TRY: Final = frozenset({"except", "finally"})  # the only ones of which one must follow
_FINALLY: Final = frozenset({"finally"})

_ALLOWED_AFTER: Final[dict[str, frozenset[str]]] = {
    "if": _IF,
    "elif": _IF,
    "while": _ELSE,
    "for": _ELSE,
    "try": _TRY,
    "except": frozenset({"except", "else", "finally"}),
}
CLAUSES: Final = frozenset({"elif", "else", "except", "finally"})
COMPOUND: Final = frozenset({"if", "while", "for", "try", "with", "def", "class", "async"}) | CLAUSES
_DECORATED: Final = frozenset({"def", "class", "async", "@"})


class Fault(NamedTuple):
    """Why a line cannot be where it is, in CPython's words."""

    message: str
    kind: str = "SyntaxError"
    header_at: int | None = None  # offset of another line that CPython names, with `` on line N``


_INVALID: Final = Fault("invalid syntax")
_TABS: Final = Fault("inconsistent use of tabs and spaces in indentation", "TabError")
_INDENT: Final = Fault("unexpected indent", "IndentationError")
_UNINDENT: Final = Fault("unexpected unindent", "IndentationError")
_MISMATCH: Final = Fault("unindent does not match any outer indentation level", "IndentationError")
_NO_HANDLER: Final = Fault("expected 'except' or 'finally' block")


class Suite:
    """An indentation, and the statement last begun on it."""

    __slots__ = ("allowed", "alt", "column", "decorated", "kind", "of")

    def __init__(self, column: int, alt: int, of: str) -> None:
        self.column, self.alt = column, alt
        self.of = of  # the word of the clause that opened it
        self.kind = ""  # of the statement: "" if it is a simple one
        self.allowed = _NONE  # clause words that may continue it
        self.decorated = False  # it is only a decorator so far

    def unfinished(self) -> Fault | None:
        if self.allowed is _TRY:
            return _NO_HANDLER
        return _UNINDENT if self.decorated else None


class Suites:
    def __init__(self) -> None:
        self.current = Suite(0, 0, "")
        self._open = [self.current]
        self._header: tuple[str, int] | None = None  # the line before needs a block: its word and offset

    @property
    def nested(self) -> bool:
        return len(self._open) > 1

    def enter(self, column: int, alt: int) -> Fault | None:
        """A logical line begins at this indentation, measured with tabs of 8 and of 1 like CPython does."""
        current = self.current
        if self._header is not None:
            if (column == current.column and alt == current.alt) or column < current.column:
                return self._missing_block()
            if column == current.column or alt <= current.alt:
                return _TABS
            self.current = Suite(column, alt, self._header[0])
            self._open.append(self.current)
            self._header = None
            return None
        if column > current.column:
            return _INDENT if alt > current.alt else _TABS
        while column < current.column:
            if fault := current.unfinished():
                return fault
            self._open.pop()
            current = self.current = self._open[-1]
        if column != current.column:
            return _MISMATCH
        return None if alt == current.alt else _TABS

    def _missing_block(self) -> Fault:
        assert self._header is not None
        word, offset = self._header
        after = {"def": "function definition", "class": "class definition"}.get(word, f"'{word}' statement")
        return Fault(f"expected an indented block after {after}", "IndentationError", offset)

    def continues(self, word: str) -> bool:
        """May a line whose first word begins like this continue the last statement?"""
        return any(clause.startswith(word) for clause in self.current.allowed)

    def decide(self, word: str) -> tuple[int, Fault | None]:
        """A first word does not continue the last statement: how many of its characters show it. It is over then, or
        it is a ``try`` without a handler."""
        length = 1
        while self.continues(word[:length]):
            length += 1
        fault = self.current.unfinished()
        self.current.allowed = _NONE
        return length, fault

    def begin(self, word: str) -> Fault | None:
        """The first word of a line, or "" if it starts with something else."""
        current = self.current
        if word in current.allowed:
            return None
        if current.allowed is _TRY:
            return _NO_HANDLER
        current.allowed = _NONE
        if word in CLAUSES or (current.decorated and word not in _DECORATED):
            return _INVALID
        return None

    def end(self, word: str, kind: str, header: bool, offset: int) -> None:
        """A logical line is over. ``kind`` is ``word`` or the one after ``async``, and "" of a simple statement;
        ``header``: a block must follow."""
        current = self.current
        current.decorated = word == "@"
        if word == "else":
            current.allowed = _FINALLY if current.kind == "try" else _NONE
        else:
            current.allowed = _ALLOWED_AFTER.get(kind, _NONE)
            if word not in CLAUSES:
                current.kind = kind
        self._header = (kind, offset) if header else None

    def finish(self) -> Fault | None:
        """The code is over."""
        if self._header is not None:
            return self._missing_block()
        return next((fault for suite in reversed(self._open) if (fault := suite.unfinished())), None)
