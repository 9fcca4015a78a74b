"""Fenced code blocks in markdown, from fragments cut anywhere (PROTOCOL.md 3.3, CommonMark 4.5 and 5).

A line is final only at its newline, so a line is held back while it may still be a fence; of a code line the rest then
passes straight through. Outside a fence only what can hold one is followed: block quotes, list items and, for lazy
continuation lines, whether a paragraph is open.

One departure from CommonMark: a closing fence inside an open triple-quoted string of Python may be text of that string.
What follows is kept back as code until the string is closed; if it never is, the block did end there, and what was kept
back is read again as markdown. Nothing is lost by waiting: the statement with the open string cannot run anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from app.extraction.python_strings import PythonStrings

#: Longest line that is held back to see whether it is a fence.
MAX_HELD_CHARS = 1000
#: Quotes and list items in each other.
MAX_CONTAINERS = 16
#: How often a block may have to be cut at a doubtful fence; then every fence closes. Keeps the work linear.
MAX_CUTS = 8

PYTHON_FENCES = frozenset({"python", "py", "python3", "ipython", "tool_code"})

_QUOTE = -1  # in a list of containers, among the content columns of list items
_OPENING = re.compile(r"(?P<mark>`{3,})(?P<info>[^`]*)|(?P<tilde>~{3,})(?P<rest>.*)")
_MARKER = re.compile(r"(?:[-+*]|(?P<number>\d{1,9})[.)])(?=[ \t]|$)")
_THEMATIC = re.compile(r"(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}")
_UNDERLINE = re.compile(r"(?:=+|-+)")
_HEADING = re.compile(r"#{1,6}(?:[ \t]|$)")
#: The beginning of a line that may yet become an opening fence, or a break or heading, which end a paragraph.
_MAYBE_FENCE = re.compile(
    r"(?:[ \t]*(?:>|[-+*](?=[ \t]|$)|\d{1,9}(?:[.)](?=[ \t]|$)|$)))*[ \t]*"
    r"(?:$|`{1,2}$|~{1,2}$|`{3,}[^`]*$|~~~.*$|[*_-][*_ \t-]*$|=+$|#{1,6}$)"
)
_LANGUAGE = re.compile(r"[{.\s]*([^\s{},:=]*)")


class SnippetStart(NamedTuple):
    language: str
    source: Literal["fence", "tag"] = "fence"


class SnippetText(NamedTuple):
    text: str


class SnippetEnd(NamedTuple):
    pass


class PassedText(NamedTuple):
    """What is no part of a tag with code. Of this and the next only a ``TagReader`` that is asked for it tells."""

    text: str


class TaggedText(NamedTuple):
    """A tag with code, from its first character to its last; behind the ``SnippetEnd`` of that."""

    text: str


SnippetEvent = SnippetStart | SnippetText | SnippetEnd | PassedText | TaggedText


def first_word(info: str) -> str:
    """The language of an info string, in lower case; braces and attributes are left out."""
    match = _LANGUAGE.match(info)
    return match[1].lower() if match else ""


def python_only(info: str) -> str | None:
    """Only what is marked as Python runs: a transcript (``pycon``) is no code, an unmarked block may be anything."""
    return "python" if first_word(info) in PYTHON_FENCES else None


@dataclass
class _Fence:
    mark: str
    length: int
    indent: int
    language: str | None


@dataclass
class _Doubt:
    """What came behind a closing fence that stood in an open string."""

    closings: int
    raw: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


class _Rest(Enum):
    """What becomes of the rest of the current line."""

    UNDECIDED = 1
    CODE = 2
    SKIP = 3


class FenceReader:
    """``language_of`` tells the language of an info string, or None where the block is not to be run."""

    def __init__(self, language_of: Callable[[str], str | None] = python_only) -> None:
        self._language_of = language_of
        self._containers: list[int] = []
        self._paragraph = False
        self._fence: _Fence | None = None
        self._strings = PythonStrings()
        self._doubt: _Doubt | None = None
        self._cuts_left = MAX_CUTS
        self._rest = _Rest.UNDECIDED
        self._line = ""  # the undecided beginning of the current line
        self._code_line: list[str] = []  # the current line of code, for ``_strings``
        self._events: list[SnippetEvent] = []

    def __repr__(self) -> str:
        return f"<FenceReader fence={self._fence} line={self._line!r}>"

    @property
    def in_fence(self) -> bool:
        return self._fence is not None

    def feed(self, text: str) -> list[SnippetEvent]:
        if self._rest is _Rest.SKIP and "\n" not in text:
            return []
        self._feed(text)
        return self._take_events()

    def flush(self) -> list[SnippetEvent]:
        """The message is over, which closes an open block."""
        while True:
            if self._line:
                self._decide(self._line, whole=True)
            self._end_code_line()
            if self._doubt is None:
                break
            self._cut()
        if self._fence is not None:
            self._close()
        self._start_line()
        return self._take_events()

    def _take_events(self) -> list[SnippetEvent]:
        events, self._events = self._events, []
        return events

    def _feed(self, text: str) -> None:
        start = 0
        while start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            self._take(text[start:end])
            start = end

    def _take(self, piece: str) -> None:
        """Take what is left of a line, or some of it."""
        whole = piece.endswith("\n")
        if self._doubt is not None:
            self._doubt.raw.append(piece)
        if self._rest is _Rest.CODE:
            self._emit(piece)
        elif self._rest is _Rest.UNDECIDED:
            self._line += piece
            self._decide(self._line, whole)
        if whole:
            self._end_code_line()
            self._start_line()

    def _start_line(self) -> None:
        self._line = ""
        self._rest = _Rest.UNDECIDED

    def _decide(self, line: str, whole: bool) -> None:
        if self._fence is not None:
            self._decide_code_line(self._fence, line, whole)
        else:
            self._decide_text_line(line, whole)

    # inside a fence

    def _decide_code_line(self, fence: _Fence, line: str, whole: bool) -> None:
        wait = not whole and len(line) < MAX_HELD_CHARS
        if wait and not line.strip(" \t>"):
            return
        depth, body, column = self._enter_containers(line)
        if depth < len(self._containers):
            self._leave_container(line, whole)
            return
        stripped = body.strip()
        if stripped.strip(fence.mark) == "":
            if wait:
                return
            if whole and len(stripped) >= fence.length and _indent(body, column) < 4:
                if not self._strings.in_triple or not self._cuts_left:
                    self._close()
                    return
                if self._doubt is None:
                    self._doubt = _Doubt(self._strings.closings)
        self._line = ""
        self._rest = _Rest.CODE
        self._emit(_remove_columns(body, fence.indent, column))

    def _leave_container(self, line: str, whole: bool) -> None:
        """The line is outside the quote or list item that holds the block: that ends the block."""
        if self._doubt is not None:
            self._cut()
        else:
            self._close()
            self._rest = _Rest.UNDECIDED
            self._decide_text_line(line, whole)

    def _cut(self) -> None:
        """The string was never closed: the block ended at the doubtful fence. Read what follows it again."""
        assert self._doubt is not None
        raw = "".join(self._doubt.raw)
        self._doubt = None
        self._cuts_left -= 1
        self._close()
        self._start_line()
        self._feed(raw)

    def _close(self) -> None:
        assert self._fence is not None
        if self._fence.language is not None:
            self._events.append(SnippetEnd())
        self._fence = None
        self._code_line.clear()
        self._rest = _Rest.SKIP

    def _emit(self, text: str) -> None:
        if self._fence is None or self._fence.language is None or not text:
            return
        self._code_line.append(text)
        if self._doubt is not None:
            self._doubt.code.append(text)
        else:
            self._events.append(SnippetText(text))

    def _end_code_line(self) -> None:
        if not self._code_line:
            return
        self._strings.feed("".join(self._code_line))
        self._code_line.clear()
        if self._doubt is not None and self._strings.closings != self._doubt.closings:
            self._events.append(SnippetText("".join(self._doubt.code)))
            self._doubt = None

    # outside a fence

    def _decide_text_line(self, line: str, whole: bool) -> None:
        if not whole and len(line) < MAX_HELD_CHARS and _MAYBE_FENCE.match(line):
            return
        self._rest = _Rest.SKIP
        if len(line) >= MAX_HELD_CHARS:
            line, whole = line[:MAX_HELD_CHARS], False
        line = line.rstrip("\r\n")
        matched, body, column = self._enter_containers(line)
        known = len(self._containers)
        containers, body, column, in_paragraph = self._open_containers(body, column, matched)
        indent = _indent(body, column)
        body = body.strip(" \t")
        if indent > 3 and body:
            body = "indented code, or a paragraph that goes on"
        opening = _OPENING.fullmatch(body)
        is_new = len(containers) > matched
        underline = in_paragraph and _UNDERLINE.fullmatch(body)
        plain = bool(body) and not (opening or underline or _THEMATIC.fullmatch(body) or _HEADING.match(body))
        if plain and self._paragraph and not is_new and matched < known:
            return  # a lazy continuation line: it belongs to the paragraph in the containers
        self._containers = containers
        self._paragraph = plain and (indent < 4 or in_paragraph)
        if opening and whole:
            mark = opening["mark"] or opening["tilde"]
            info = opening["info"] or opening["rest"] or ""
            self._open(mark, indent, self._language_of(info.strip()))

    def _open(self, mark: str, indent: int, language: str | None) -> None:
        self._fence = _Fence(mark[0], len(mark), indent, language)
        self._strings = PythonStrings()
        if language is not None:
            self._events.append(SnippetStart(language))

    def _enter_containers(self, line: str) -> tuple[int, str, int]:
        """How many of the open containers the line continues, what is left of it inside them, and where that starts."""
        body = line
        column = 0
        for depth, container in enumerate(self._containers):
            if container == _QUOTE:
                indent = _indent(body, column)
                if indent > 3 or not body.lstrip(" \t").startswith(">"):
                    return depth, body, column
                body, column = _enter_quote(body, column)
            elif body.strip():
                if _indent(body, column) < container:
                    return depth, body, column
                body = _remove_columns(body, container, column)
                column += container
            else:
                body = _remove_columns(body, container, column)
        return len(self._containers), body, column

    def _open_containers(self, body: str, column: int, matched: int) -> tuple[list[int], str, int, bool]:
        """The containers of a line that continues ``matched`` of the open ones, the rest of it inside them and its
        column, and whether that rest follows a paragraph in the same container."""
        containers = self._containers[:matched]
        in_paragraph = self._paragraph and matched == len(self._containers)
        while len(containers) < MAX_CONTAINERS:
            indent = _indent(body, column)
            text = body.lstrip(" \t")
            if indent > 3 or not text:
                break
            if text[0] == ">":
                containers.append(_QUOTE)
                body, column = _enter_quote(body, column)
                in_paragraph = False
                continue
            marker = _MARKER.match(text)
            if marker is None or _THEMATIC.fullmatch(text):
                break
            content = text[marker.end() :]
            if in_paragraph and (not content.strip() or marker["number"] not in (None, "1")):
                break
            width = indent + marker.end()
            gap = _indent(content, column + width)
            if not content.strip() or gap > 4:
                gap = 1
            containers.append(width + gap)
            body = _remove_columns(content, gap, column + width)
            column += width + gap
            in_paragraph = False
        return containers, body, column, in_paragraph


def _indent(text: str, column: int = 0) -> int:
    """Columns of white space at the start of ``text``, which itself starts at ``column``."""
    white = text[: len(text) - len(text.lstrip(" \t"))]
    if "\t" not in white:
        return len(white)
    return len((" " * column + white).expandtabs(4)) - column


def _remove_columns(text: str, columns: int, column: int = 0) -> str:
    """``text`` without up to ``columns`` of its leading white space; of a tab cut in two, spaces are left."""
    if not columns:
        return text
    body = text.lstrip(" \t")
    white = text[: len(text) - len(body)]
    head = white[:columns]
    if "\t" not in head:
        return text[len(head) :]
    taken = 0
    for position, character in enumerate(white):
        width = 4 - (column + taken) % 4 if character == "\t" else 1
        taken += width
        if taken >= columns:
            return " " * (taken - columns) + text[position + 1 :]
    return body


def _enter_quote(text: str, column: int) -> tuple[str, int]:
    """The text behind ``>`` and one optional space, and the column where it starts."""
    indent = _indent(text, column)
    body = text.lstrip(" \t")[1:]
    column += indent + 1
    if body[:1] in (" ", "\t"):
        body = _remove_columns(body, 1, column)
        column += 1
    return body, column
