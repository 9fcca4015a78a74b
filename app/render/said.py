"""What code said, as blocks of Markdown in the order in which it was said.

Every block begins with the empty line that parts it from the one before. Text is one fence as long as nothing else
comes; of a long one the beginning is shown as it comes, and its end when it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

from app.render.fenced import FencedText
from app.render.inline import code_span, escaped, size
from app.render.tables import markdown_table
from app.render.terminal import TerminalLines
from app.render.words import words

#: Shown of one run of text: its beginning, and its end.
HEAD_LINES, HEAD_CHARS = 100, 8_000
TAIL_LINES, TAIL_CHARS = 20, 2_000
TRACEBACK_CHARS = 8_000
#: In a formula: what ends it, or is a link, a picture or HTML to somebody.
_NO_FORMULA = ("$", "\n", "<", ">", "`", "![", "](", "://", "www.", "\\href", "\\url", "\\includegraphics", "\\html")
_blocks = MarkdownIt("commonmark").disable("inline").enable("table")


class Link(NamedTuple):
    """Where something can be had. ``url`` is one of ours, or empty; ``bytes`` its size, if that is told."""

    name: str
    url: str
    bytes: int | None = None


class Said:
    """Blocks of one piece of code."""

    def __init__(self) -> None:
        self._text: _LongText | None = None

    def __repr__(self) -> str:
        return f"<Said {'text' if self._text else 'idle'}>"

    def text(self, text: str) -> str:
        """More of what it printed."""
        begun = ""
        if self._text is None:
            self._text = _LongText()
            begun = "\n\n" + self._text.open()
        return begun + self._text.feed(text)

    def end_text(self) -> str:
        """What it prints next is a block of its own."""
        text, self._text = self._text, None
        return "" if text is None else text.close()

    def value(self, data: Mapping[str, Any], links: Sequence[Link]) -> str:
        """Something it showed. ``links`` lead to its images."""
        if links:
            return self.end_text() + "".join(f"\n\n{_figure(link)}" for link in links)
        html = data.get("text/html")
        if isinstance(html, str) and (table := markdown_table(html)) is not None:
            return f"{self.end_text()}\n\n{table}"
        latex = data.get("text/latex")
        if isinstance(latex, str) and (formula := _formula(latex)) is not None:
            return f"{self.end_text()}\n\n{formula}"
        markdown = data.get("text/markdown")
        if isinstance(markdown, str):
            fence = FencedText("markdown")
            return f"{self.end_text()}\n\n{fence.open()}{fence.feed(markdown[:HEAD_CHARS])}{fence.close()}"
        told = words(data)
        return self.text(told) if told.strip() else ""

    def error(self, name: str, message: str, line: int | None, traceback: str) -> str:
        """It failed: in a sentence, with the traceback folded below."""
        where = f" in line {line}" if line is not None else ""
        told = f": {code_span(message)}" if message.strip() else ""
        sentence = self.sentence(f"**{escaped(name)}**{where}{told}", plain=True)
        if not traceback.strip():
            return sentence
        fence = FencedText("text")
        kept = traceback if len(traceback) <= TRACEBACK_CHARS else "…\n" + traceback[-TRACEBACK_CHARS:]
        lines = TerminalLines()
        shown = f"{fence.open()}{fence.feed(lines.feed(kept) + lines.flush())}{fence.close()}"
        return f"{sentence}\n\n<details>\n<summary>Traceback</summary>\n\n{shown}\n\n</details>"

    def sentence(self, text: str, *, plain: bool = False) -> str:
        """One of ours. ``text`` is Markdown."""
        return f"{self.end_text()}\n\n{text if plain else f'*{text}*'}"

    def files(self, links: Sequence[Link]) -> str:
        """Files that it wrote; those without a ``url`` are only named."""
        if not links:
            return ""
        return f"{self.end_text()}\n\nFiles: {', '.join(map(_file, links))}"


def _figure(link: Link) -> str:
    return f"![{escaped(link.name)}]({link.url})" if link.url else f"*{escaped(link.name)} could not be kept.*"


def _file(link: Link) -> str:
    name = f"[{escaped(link.name)}]({link.url})" if link.url else code_span(link.name)
    return name if link.bytes is None else f"{name} ({size(link.bytes)})"


def _formula(latex: str) -> str | None:
    """One formula in dollar signs, if that is what it is: also to a front end that knows no formulas, and to one whose
    formulas may have links and pictures in them."""
    inner = latex.strip().strip("$").removeprefix("\\displaystyle").strip()
    if not inner or len(inner) > 2_000 or any(part in inner for part in _NO_FORMULA):
        return None
    formula = f"$$\n{inner}\n$$"
    blocks = [token.type for token in _blocks.parse(formula)]
    return formula if blocks == ["paragraph_open", "inline", "paragraph_close"] else None


class _LongText:
    """Text in a fence; the middle of a long one is left out, which is told between two fences."""

    def __init__(self) -> None:
        self._lines = TerminalLines()
        self._fence = FencedText("text")
        self._shown_lines = self._shown_chars = 0
        self._over = False
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self._left_out_chars = self._left_out_lines = 0

    def open(self) -> str:
        return self._fence.open()

    def feed(self, text: str) -> str:
        return self._show(self._lines.feed(text))

    def close(self) -> str:
        written = self._show(self._lines.flush())
        if not self._over:
            return written + self._fence.close()
        written += self._fence.close()
        if self._left_out_chars:
            lines, chars = self._left_out_lines, self._left_out_chars
            written += f"\n\n*{lines} more lines ({size(chars)}) are not shown here.*"
        if self._tail:
            fence = FencedText("text")
            written += f"\n\n{fence.open()}{fence.feed(''.join(self._tail))}{fence.close()}"
        return written

    def _show(self, text: str) -> str:
        if not text:
            return ""
        if self._over:
            self._keep(text)
            return ""
        lines = text.splitlines(keepends=True)
        shown: list[str] = []
        for number, line in enumerate(lines):
            room = HEAD_CHARS - self._shown_chars
            if self._shown_lines >= HEAD_LINES or room <= 0:
                self._over = True
                self._keep("".join(lines[number:]))
                break
            shown.append(line[:room])
            self._shown_lines += 1
            self._shown_chars += len(line)
            if len(line) > room:
                self._over = True
                self._keep("".join([line[room:], *lines[number + 1 :]]))
                break
        return self._fence.feed("".join(shown))

    def _keep(self, text: str) -> None:
        """Of the end so far, what may be shown."""
        for line in text.splitlines(keepends=True):
            cut = line[-TAIL_CHARS:]
            self._left_out_chars += len(line) - len(cut)
            self._tail.append(cut)
            self._tail_chars += len(cut)
            while len(self._tail) > TAIL_LINES or self._tail_chars > TAIL_CHARS:
                gone = self._tail.popleft()
                self._tail_chars -= len(gone)
                self._left_out_chars += len(gone)
                self._left_out_lines += 1
