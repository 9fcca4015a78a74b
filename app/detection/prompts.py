"""What IPython takes off the lines of a cell before it reads it as Python: the indentation of the first line, and the
prompts of a pasted session (``>>> ``, ``... ``, ``In [1]: ``, ``   ...: ``).

``PromptedDetector`` stands in front of a detector and hands it what is left; its chunks have the text as it came.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace

from app.detection.chunk import Chunk, Detector, SyntaxProblem

_LEADING_BLANK_LINES = re.compile(r"(?:[ \t\f]*(?:\r\n?|\n))*")
_INDENT = re.compile(r"[ \t]*")
#: A prompt at the start of a line, and what may still become one.
_CLASSIC = re.compile(r"(?:>>>|\.\.\.)(?: |(?=[\r\n])|\Z)")
_CLASSIC_BEGUN = re.compile(r"(?:>{0,3}|\.{1,3})\Z")
_IPYTHON = re.compile(r"In \[\d+\]: |[ \t]*\.{3,}: ?")
_IPYTHON_BEGUN = re.compile(r"I(?:n(?: (?:\[(?:\d+(?:\]:?)?)?)?)?)?\Z|[ \t]*\.*:?\Z")
_FIRST_BEGUN = re.compile(r">{1,3}\Z|I(?:n(?: (?:\[(?:\d+(?:\]:?)?)?)?)?)?\Z")
#: Of what is taken off a line; a longer indentation is none.
_LONGEST = 4096
_NEWLINE = re.compile(r"\r\n?|\n")


class PromptedDetector:
    """A ``Detector``. Costs nothing once the first line has shown that there is nothing to take off."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self._decided = self._plain = False
        self._indent = ""
        self._prompt: tuple[re.Pattern[str], re.Pattern[str]] | None = None
        self._held = ""  # the beginning of the code, or of a line, that is not settled
        self._original: list[str] = []  # text of which no chunk was emitted
        self._start = 0  # its offset
        self._at = 0  # characters that the inner detector has
        self._at_line_start = True
        # Of each line from the one that the next chunk starts on: its offset for the inner detector; how much was taken
        # off all lines up to it, and off itself.
        self._lines: list[int] = []
        self._taken: list[tuple[int, int]] = []

    def __repr__(self) -> str:
        return f"<PromptedDetector {self._inner!r} held={self._held!r}>"

    @property
    def problem(self) -> SyntaxProblem | None:
        problem = self._inner.problem
        return problem if self._plain or problem is None else replace(problem, offset=self._outside(problem.offset))

    @property
    def remainder(self) -> str:
        return self._inner.remainder if self._plain else "".join(self._original)

    def feed(self, fragment: str) -> list[Chunk]:
        if self._plain:
            return self._inner.feed(fragment)
        self._original.append(fragment)
        self._held += fragment
        if not self._decided and not self._decide(ended=False):
            return []
        return self._inner.feed(self._held) if self._plain else self._pass_on(ended=False)

    def flush(self) -> list[Chunk]:
        if not self._decided:
            self._decide(ended=True)
            if self._plain:
                return self._inner.feed(self._held) + self._inner.flush()
        if self._plain:
            return self._inner.flush()
        return self._pass_on(ended=True) + self._map(self._inner.flush())

    def _decide(self, *, ended: bool) -> bool:
        """Look at the first line, if enough of it is there."""
        blank = _LEADING_BLANK_LINES.match(self._held)
        assert blank is not None
        indent = _INDENT.match(self._held, blank.end())
        assert indent is not None
        text = self._held[indent.end() :]
        if not ended and len(self._held) < _LONGEST and (not text or _FIRST_BEGUN.match(text)):
            return False
        self._decided = True
        self._indent = indent.group() if text else ""
        if text.startswith(">>>") and _CLASSIC.match(text):
            self._prompt = _CLASSIC, _CLASSIC_BEGUN
        elif text.startswith("In") and _IPYTHON.match(text):
            self._prompt = _IPYTHON, _IPYTHON_BEGUN
        self._plain = not self._indent and self._prompt is None
        return True

    def _pass_on(self, *, ended: bool) -> list[Chunk]:
        """Give the inner detector what is settled of ``_held``."""
        pieces: list[str] = []
        text, i = self._held, 0
        while i < len(text):
            if self._at_line_start:
                length = self._length(text[i : i + _LONGEST], ended=ended)
                if length is None:
                    break
                total = self._taken[-1][0] if self._taken else 0
                self._lines.append(self._at)
                self._taken.append((total + length, length))
                i += length
                self._at_line_start = False
            newline = _NEWLINE.search(text, i)
            end = newline.end() if newline else len(text)
            pieces.append(text[i:end])
            self._at += end - i
            self._at_line_start = newline is not None
            i = end
        self._held = text[i:]
        return self._map(self._inner.feed("".join(pieces)))

    def _length(self, line: str, *, ended: bool) -> int | None:
        """How much is taken off a line that begins so; None if that is not settled."""
        length = 0
        if self._indent:
            if line.startswith(self._indent):
                length = len(self._indent)
            elif not ended and len(line) < _LONGEST and self._indent.startswith(line):
                return None
        if self._prompt is not None:
            whole, begun = self._prompt
            rest = line[length:]
            if not ended and len(rest) < _LONGEST and begun.match(rest):
                return None
            if match := whole.match(rest):
                length += match.end()
        return length

    def _outside(self, offset: int) -> int:
        """The offset in the code as it came; what is taken off a line belongs to what follows."""
        index = bisect_left(self._lines, offset) - 1
        return offset + (self._taken[index][0] if index >= 0 else 0)

    def _map(self, chunks: list[Chunk]) -> list[Chunk]:
        if not chunks:
            return []
        mapped = []
        original = "".join(self._original)
        for chunk in chunks:
            end = self._outside(chunk.end)
            source = original[: end - self._start]
            column = chunk.column
            if column:
                index = bisect_left(self._lines, chunk.start) - 1
                column += self._taken[index][1]
            plain = chunk.source
            mapped.append(replace(chunk, source=source, plain=plain, start=self._start, end=end, column=column))
            original = original[end - self._start :]
            self._start = end
        self._original = [original]
        return mapped
