"""Text of any kind inside a fenced code block, from fragments (CommonMark 4.5).

A line of the text that would close the block must not: there the block ends, and a new one with a longer fence goes on
with that line. Whatever the text holds, what a Markdown parser finds in the blocks is the text, and nothing outside.
"""

from __future__ import annotations

import re

#: Control characters that no front end can show. Line ends and tabs stay.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0: 0xFFFD, 0x7F: 0x2421}
_NEEDS_CARE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f`\u2028\u2029]")
_LINE_END = re.compile(r"\r\n?|[\u2028\u2029]")
_MAX_INDENT = 3
_MIN_FENCE = 3


class FencedText:
    """``open``, then ``feed`` as often as one likes, then ``close``: each returns Markdown to append. The block begins
    at the beginning of a line, and ``close`` ends without a line end. ``info`` is the language."""

    def __init__(self, info: str) -> None:
        self._info = info
        self._length = _MIN_FENCE
        #: Blanks since the beginning of the line, as long as there was nothing else; -1 behind anything else.
        self._indent = 0
        #: Backticks, and blanks behind them, that may yet turn out to close the block.
        self._ticks = 0
        self._blanks: list[str] = []
        self._carriage_return = False

    def __repr__(self) -> str:
        return f"<FencedText {self._info!r} fence={self._length} held={self._ticks}>"

    @property
    def at_line_start(self) -> bool:
        return self._indent == 0 and not self._ticks

    def open(self) -> str:
        return f"{self._fence}{self._info}\n"

    def feed(self, text: str) -> str:
        if self._carriage_return:
            text = "\r" + text
            self._carriage_return = False
        if not self._ticks and _NEEDS_CARE.search(text) is None:
            self._follow(text)
            return text
        if text.endswith("\r"):  # the other half of a line end may follow
            self._carriage_return = True
            text = text[:-1]
        lines = _LINE_END.sub("\n", text).translate(_CONTROLS).split("\n")
        written = [self._in_line(lines[0])]
        for line in lines[1:]:
            written += [self._end_line(), self._in_line(line)]
        return "".join(written)

    def close(self) -> str:
        written = self._end_line() if self._carriage_return else ""
        self._carriage_return = False
        if self._ticks or self._indent:
            written += self._end_line()
        return written + self._fence

    @property
    def _fence(self) -> str:
        return "`" * self._length

    def _follow(self, text: str) -> None:
        """Note where in its line the text ends."""
        last = text.rpartition("\n")[2]
        if len(last) != len(text):
            self._indent = 0
        if last and self._indent >= 0:
            stripped = last.lstrip(" ")
            self._indent = -1 if stripped else self._indent + len(last)

    def _in_line(self, text: str) -> str:
        """Text without line ends."""
        if not text:
            return ""
        if 0 <= self._indent <= _MAX_INDENT and not self._ticks:
            stripped = text.lstrip(" ")
            blanks = len(text) - len(stripped)
            self._indent += blanks
            if not stripped:
                return text
            if stripped[0] == "`" and self._indent <= _MAX_INDENT:
                return text[:blanks] + self._in_ticks(stripped)
            self._indent = -1
            return text
        if self._ticks:
            return self._in_ticks(text)
        self._indent = -1
        return text

    def _in_ticks(self, text: str) -> str:
        if not self._blanks:
            rest = text.lstrip("`")
            self._ticks += len(text) - len(rest)
            text = rest
        rest = text.lstrip(" \t")
        if not rest:
            if text:
                self._blanks.append(text)
            return ""
        return self._release() + text

    def _release(self) -> str:
        """It closes nothing."""
        held = "`" * self._ticks + "".join(self._blanks)
        self._indent, self._ticks, self._blanks = -1, 0, []
        return held

    def _end_line(self) -> str:
        indent, ticks = self._indent, self._ticks
        held = self._release() if ticks else ""
        self._indent = 0
        if ticks < self._length:
            return held + "\n"
        closed = self._fence
        self._length = ticks + 1
        return f"{closed}\n\n{self.open()}{' ' * indent}{held}\n"  # the blanks that were shown stand before ``closed``
