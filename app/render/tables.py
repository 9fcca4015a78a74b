"""A table in HTML, as libraries display theirs, as a Markdown table (GFM 4.10)."""

from __future__ import annotations

import re
from html import unescape

from app.render.inline import escaped

MAX_ROWS = 20
MAX_COLUMNS = 30
#: Of the HTML that is looked at. A display of pandas shows 60 rows at most.
MAX_CHARS = 400_000
_HIDDEN = frozenset({"style", "script", "head", "title", "template"})
#: A tag, or text. Python's own parser takes time that grows with the square of some malformed input.
_TOKEN = re.compile(r"<!--|<(?P<end>/?)(?P<tag>[A-Za-z][A-Za-z0-9]*)(?P<attributes>[^<>]*)>|[^<]+|<")
_COLSPAN = re.compile(r"\scolspan\s*=\s*[\"']?(\d{1,3})", re.IGNORECASE)


def markdown_table(html: str) -> str | None:
    """The first table in it, its first rows; None if there is none. What stands behind the table, as pandas tells its
    shape, is told below."""
    reader = _TableReader()
    reader.feed(html[:MAX_CHARS])
    if not any(reader.rows):
        return None
    width = min(max(len(row) for row in reader.rows), MAX_COLUMNS)
    rows = [(row + [""] * width)[:width] for row in reader.rows[: MAX_ROWS + 1]]
    head, *body = rows if reader.has_head else [[""] * width, *rows[:MAX_ROWS]]
    lines = [_line(head), "|" + " --- |" * width, *map(_line, body)]
    if notes := reader.note.strip() or _left_out(reader, width):
        lines += ["", f"*{escaped(notes)}*"]
    return "\n".join(lines)


def _left_out(reader: _TableReader, width: int) -> str:
    rows, columns = reader.row_count - reader.has_head, max(len(row) for row in reader.rows)
    if rows <= MAX_ROWS and columns <= width:
        return ""
    return f"{rows} rows x {columns} columns; the first {min(rows, MAX_ROWS)} x {width} are shown"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


class _TableReader:
    """``rows`` of the first table, ``row_count`` of them in all. ``has_head``: the first row is its head."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.row_count = 0
        self.has_head = False
        self.note = ""
        self._depth = 0
        self._done = False
        self._hidden = 0
        self._cell: list[str] | None = None
        self._span = 1

    def feed(self, html: str) -> None:
        position = 0
        while (token := _TOKEN.match(html, position)) is not None:
            position = token.end()
            tag = token["tag"]
            if tag is not None and token["end"]:
                self._end(tag.lower())
            elif tag is not None:
                self._begin(tag.lower(), token["attributes"])
            elif token[0] == "<!--":
                end = html.find("-->", position)
                position = len(html) if end < 0 else end + 3
            else:
                self._text(unescape(token[0]))
        self._end_cell()

    def _begin(self, tag: str, attributes: str) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "table":
            self._depth += 1
        elif self._done or self._depth != 1:
            return
        elif tag == "tr":
            self._end_cell()
            self.row_count += 1
            if len(self.rows) <= MAX_ROWS:
                self.rows.append([])
        elif tag in ("td", "th"):
            self._end_cell()
            if not self.rows:
                self.rows.append([])
                self.row_count += 1
            self._cell = []
            span = _COLSPAN.search(attributes)
            self._span = max(1, min(int(span[1]), MAX_COLUMNS)) if span else 1
            if tag == "th" and self.row_count == 1:
                self.has_head = True
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def _end(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "table" and self._depth:
            if self._depth == 1:
                self._end_cell()
            self._depth -= 1
            self._done = self._done or not self._depth
        elif tag in ("td", "th", "tr") and self._depth == 1:
            self._end_cell()

    def _text(self, data: str) -> None:
        if self._hidden:
            return
        if self._cell is not None and not self._done:
            self._cell.append(data)
        elif self._done and not self._depth and len(self.note) < 200:
            self.note += data

    def _end_cell(self) -> None:
        if self._cell is not None and self.row_count == len(self.rows) and len(self.rows[-1]) < MAX_COLUMNS:
            self.rows[-1] += ["".join(self._cell), *[""] * (self._span - 1)]
        self._cell = None
