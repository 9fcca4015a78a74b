"""Python in fragments -> its top-level statements, each at the first character that settles it.

When is a statement over?
- A simple statement is over at its newline, at ``;`` or at the ``#`` of a comment behind it.
- So is a compound statement on one line, ``;`` apart, if no clause can continue it.
- Any other compound statement is over at the first character in column 0 that cannot begin one of the clauses that may
  still follow. Comments do not count. ``else_x = 1`` ends an ``if`` at its underscore.
- The end of the code ends every statement.

A chunk ends after the last logical line of its statement, after ``;`` or before ``#``. Comments and blank lines belong
to the chunk that follows them. Behind the last statement they are a chunk of kind ``trivia``.
"""

from __future__ import annotations

import re
import sys

from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.compiling import Refusal
from app.detection.early import LONGEST, check_line, check_open_line
from app.detection.scanner import Scanner
from app.detection.source import AFTER, DEAD
from app.detection.suites import CLAUSES, COMPOUND, Fault, Suites

_DECORATORS = "@"
# A line open in brackets is parsed again when it has grown by this factor: three times its own length in all.
_GROWTH = 1.5
# And, so many times, after a physical line that begins like a statement: not indented, with a word.
_SUSPICIONS = 3
_ASYNC = re.compile(r"async(?:[ \t\f]|\\\r\n|\\\r|\\\n)+(\w+)")
_NEWLINE = re.compile(r"\r\n?|\n")


class PythonDetector(Scanner):
    """The detector of Python ``version``, the sandbox's. ``check_lines``: look for syntax errors line by line, where
    this interpreter speaks the same version; else only those are found that need no parser."""

    def __init__(self, version: tuple[int, int], ipython: bool = True, *, check_lines: bool = True) -> None:
        super().__init__(version, ipython)
        self._check_lines = check_lines and version == sys.version_info[:2]
        self._chunks: list[Chunk] = []  # complete, not yet handed out
        self._count = 0
        # The statement being read: where it starts, and its text as far as it is taken.
        self._start = 0
        self._start_line, self._start_column = 1, 0
        self._pieces: list[str] = []
        self._taken = 0  # offset up to which text is taken
        self._kind: str | None = None  # None before its first line is over
        self._has_magic = False
        # The logical line being read.
        self._suites = Suites()
        self._after_semicolon = self._line_has_magic = False
        self._line_ended = False  # its code is, a comment follows
        self._tested = 0  # characters of it that were tested while it is open in brackets
        self._physical_at = -1  # where the physical line begins that is read inside them; -1 on the first
        self._suspicions = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(chunks={self._count}, remainder={self.remainder!r}, problem={self._problem!r})"

    @property
    def problem(self) -> SyntaxProblem | None:
        return self._problem

    @property
    def remainder(self) -> str:
        return "".join(self._pieces) + self._untaken()

    def feed(self, fragment: str) -> list[Chunk]:
        self._read(fragment)
        if not self._chunks:
            return []
        chunks, self._chunks = self._chunks, []
        return chunks

    def flush(self) -> list[Chunk]:
        self._finish()
        if self._problem is None and (fault := self._suites.finish()):
            self._fail_with(fault, self._at)
        if self._problem is None:
            self._emit_pending()
            if trivia := self._take(self._at):
                self._pieces.append(trivia)
                self._emit("trivia")
        chunks, self._chunks = self._chunks, []
        return chunks

    def _emit_pending(self) -> None:
        if self._kind is not None:
            self._emit(self._kind)

    def _emit(self, kind: str) -> None:
        source = "".join(self._pieces)
        end = self._start + len(source)
        line, column = self._start_line, self._start_column
        kind = "magic" if self._has_magic else kind
        self._chunks.append(Chunk(self._count, source, self._start, end, line, column, kind))
        if newlines := _count_newlines(source):
            self._start_line += newlines
            self._start_column = 0
            source = source[max(source.rfind("\n"), source.rfind("\r")) + 1 :]
        if source:
            self._start_column += len(source.encode("utf-8", "surrogatepass"))
        self._count += 1
        self._start = end
        self._pieces.clear()
        self._kind = None
        self._has_magic = False

    def _line_number(self, offset: int) -> int:
        return self._start_line + _count_newlines(self.remainder[: offset - self._start])

    def _fail_with(self, fault: Fault, offset: int) -> None:
        message = fault.message
        if fault.header_at is not None:
            message += f" on line {self._line_number(fault.header_at)}"
        self._fail(message, offset, fault.kind)

    # Lines.

    @property
    def _awaits_clause(self) -> bool:
        """A whole statement is pending only because a clause may continue it."""
        return self._kind is not None and self._kind != _DECORATORS and not self._suites.nested

    def _on_line(self, column: int, alt: int) -> None:
        self._after_semicolon = False
        if fault := self._suites.enter(column, alt):
            self._fail_with(fault, self._line_at + 1)
        elif self._awaits_clause and not self._suites.current.allowed:
            self._emit_pending()

    def _on_word_part(self) -> None:
        suites = self._suites
        if self._after_semicolon or not suites.current.allowed or suites.continues(self._word):
            return
        pending = self._awaits_clause
        length, fault = suites.decide(self._word)
        if fault:
            self._fail_with(fault, self._line_at + length)
        elif pending:
            self._emit_pending()

    def _on_word(self, offset: int) -> None:
        word = self._word
        if self._after_semicolon:
            if word in COMPOUND or word == "@":
                self._fail("invalid syntax", offset)
            return
        over = self._awaits_clause and word not in self._suites.current.allowed
        if fault := self._suites.begin(word):
            self._fail_with(fault, offset)
        elif over:
            self._emit_pending()

    def _on_magic(self) -> None:
        self._has_magic = self._line_has_magic = True

    def _on_semicolon(self, offset: int) -> None:
        if offset == self._line_at + 1:
            self._fail("invalid syntax", offset)
        elif self._suites.nested or self._kind is not None or self._word in COMPOUND or self._word == "@":
            return  # of a one-line suite, which it does not end
        elif self._end_line(offset, offset, code_end=offset - 1):
            self._emit_pending()
            self._significant = -1
            self._after_semicolon = True
            self._mode = AFTER

    def _on_comment(self, offset: int) -> None:
        if self._end_line(offset, offset + 1, code_end=offset):
            self._emit_pending()
            self._significant = -1
        else:
            self._line_ended = True

    def _on_line_end(self, offset: int) -> None:
        if self._line_ended:
            self._line_ended = False
            self._pieces.append(self._take(offset))
            self._taken = offset
        elif self._end_line(offset, offset, code_end=offset):
            self._emit_pending()

    def _end_line(self, cut: int, read: int, *, code_end: int) -> bool:
        """Ask whether the statement of a logical line is over. The code of the line ends at ``code_end``, which is
        known after ``read`` characters. The text up to ``cut`` belongs to the line."""
        text = self._take(cut)
        line = text[self._line_at - self._taken : code_end - self._taken]
        self._pieces.append(text)
        self._taken = cut
        word, suites = self._word, self._suites
        kind = self._kind_of(line)
        header = kind != "" and self._colon == self._significant
        if self._after_semicolon and kind:
            self._fail("invalid syntax", read)
        elif self._check_lines and not self._line_has_magic and len(line) <= LONGEST:
            suite = suites.current
            refusal = check_line(line, word, header=header, block=suite.of, decorated=suite.decorated)
            self._refuse(refusal, read)
        self._line_has_magic = False
        self._tested, self._physical_at, self._suspicions = 0, -1, 0
        if self._mode == DEAD:
            return False
        suites.end(word, kind, header, self._line_at)
        if suites.nested:
            return False
        if word not in CLAUSES:
            self._kind = _DECORATORS if word == "@" else kind or "simple"
        return word != "@" and not header and not suites.current.allowed

    def _kind_of(self, line: str) -> str:
        """The word of the clause that the line begins, "" if it is a simple statement."""
        word = self._word
        if word == "async":
            match = _ASYNC.match(line)
            return match[1] if match else "def"
        if word in COMPOUND:
            return word
        soft = (word == "match" and self._colon == self._significant) or (
            word == "case" and self._suites.current.of == "match"
        )
        return word if soft else ""

    def _on_inner_newline(self, offset: int) -> None:
        length = offset - self._line_at
        begun, self._physical_at = self._physical_at, offset
        if not self._check_lines or length > LONGEST or self._in_fstring:
            return
        if length < self._tested * _GROWTH and not self._is_suspicious(begun, offset):
            return
        self._tested = length
        line = self._peek(offset)[self._line_at - self._taken :]
        suite = self._suites.current
        refusal = check_open_line(line, self._word, block=suite.of, decorated=suite.decorated)
        self._refuse(refusal, offset)

    def _is_suspicious(self, begun: int, offset: int) -> bool:
        """Does the physical line that began at ``begun`` look as if the bracket before it was forgotten?"""
        if self._suspicions == _SUSPICIONS:
            return False
        physical = self._peek(offset)[begun - self._taken :]
        code = physical.lstrip(" \t\f")
        suspicious = len(physical) - len(code) <= self._suites.current.column and code[:1].isidentifier()
        self._suspicions += suspicious
        return suspicious

    def _refuse(self, refusal: Refusal | None, read: int) -> None:
        if refusal:
            line_number = self._line_number(self._line_at) + refusal.line - 1
            self._fail(refusal.message, read, refusal.kind, line_number)


def _count_newlines(text: str) -> int:
    return len(_NEWLINE.findall(text)) if "\r" in text else text.count("\n")
