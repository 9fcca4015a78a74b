"""What the detector must do, computed from CPython's tree of the whole text. Runs on any CPython >= 3.11 alone."""

from __future__ import annotations

import ast
import re

_NEWLINE = re.compile(r"\r\n|\r|\n")
_BLANKS = re.compile(r"(?:[ \t\f]|\\(?:\r\n|\r|\n))*")
_TRIVIA = re.compile(r"(?:[ \t\f]|\\\r\n|\\\r|\\\n|\r\n|\r|\n|#[^\r\n]*)*")
_COMMENT = re.compile(r"[^\r\n]*")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff]")
_COMPOUND = (
    *(ast.If, ast.For, ast.While, ast.AsyncFor, ast.Try, ast.TryStar, ast.With, ast.AsyncWith),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Match),
)


class Lines:
    """Offsets of CPython's positions: lines, and UTF-8 bytes in them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]

    def offset(self, line: int, column: int) -> int:
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        source = self.text[start:end].encode("utf-8", "surrogatepass")
        return start + len(source[:column].decode("utf-8", "surrogatepass"))

    def start(self, node: ast.stmt) -> int:
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)


def _elif(node: ast.If, lines: Lines) -> ast.If | None:
    match node.orelse:
        case [ast.If() as inner] if lines.text.startswith("elif", lines.start(inner)):
            return inner
    return None


def _allowed_after(node: ast.stmt, lines: Lines) -> set[str]:
    """Clause words that may follow the whole statement."""
    match node:
        case ast.If():
            while inner := _elif(node, lines):
                node = inner
            return set() if node.orelse else {"elif", "else"}
        case ast.For() | ast.While() | ast.AsyncFor():
            return set() if node.orelse else {"else"}
        case ast.Try() | ast.TryStar():
            if node.finalbody:
                return set()
            return {"finally"} if node.orelse else {"except", "else", "finally"}
    return set()


def _last_suite(node: ast.stmt, lines: Lines) -> list[ast.stmt]:
    match node:
        case ast.If() if inner := _elif(node, lines):
            return _last_suite(inner, lines)
        case ast.Try() | ast.TryStar():
            return node.finalbody or node.orelse or node.handlers[-1].body
        case ast.If() | ast.For() | ast.While() | ast.AsyncFor():
            return node.orelse or node.body
    assert isinstance(node, _COMPOUND)
    assert not isinstance(node, ast.Match)
    return node.body


def _ends_on_its_line(node: ast.stmt, lines: Lines) -> bool:
    """Does the last clause of a compound statement have its suite behind the colon?"""
    if isinstance(node, ast.Match):
        return False
    first = _last_suite(node, lines)[0]
    if isinstance(first, _COMPOUND):
        return False
    start = lines.starts[first.lineno - 1]
    if lines.text[start : lines.start(first)].strip(" \t\f("):
        return True
    # It begins a physical line: behind the colon only if that line is a continuation.
    before = lines.text[:start]
    if not re.search(r"\\(?:\r\n|\r|\n)\Z", before):
        return False
    return re.sub(r"(?:[ \t\f]|\\(?:\r\n|\r|\n))*\Z", "", before).endswith(":")


def _decisive(text: str, start: int, allowed: set[str]) -> int:
    """Offset after the first character from ``start`` on that rules all allowed clauses out."""
    end = start
    while end < len(text) and _IDENTIFIER.match(text[end]):
        if not any(word.startswith(text[start : end + 1]) for word in allowed):
            break
        end += 1
    return min(end + 1, len(text))


def expected(text: str, tree: ast.Module | None = None) -> list[tuple[int, int]]:
    """For each chunk that holds a statement: its end, and after how many characters it must be emitted."""
    mark = text.startswith("\ufeff")
    source = text[1:] if mark else text
    tree = tree or ast.parse(source)
    lines = Lines(source)
    chunks: list[tuple[int, int]] = []
    for number, node in enumerate(tree.body):
        simple = not isinstance(node, _COMPOUND)
        over = simple or (_ends_on_its_line(node, lines) and not _allowed_after(node, lines))
        at = _after(_BLANKS, source, lines.end(node))
        if source.startswith(";", at):
            if simple:
                chunks.append((at + 1, at + 1))
                continue
            at = _after(_BLANKS, source, at + 1)
        if source.startswith("#", at):
            if over:
                chunks.append((at, at + 1))
                continue
            at = _after(_COMMENT, source, at)
        if newline := _NEWLINE.match(source, at):
            at = newline.end()
        emitted = at
        if newline and newline.group() == "\r":
            emitted = min(at + 1, len(source))  # it may be half of a line end
        if not over:
            last = number + 1 == len(tree.body)
            start = len(source) if last else _after(_TRIVIA, source, at)
            emitted = _decisive(source, start, _allowed_after(node, lines))
        chunks.append((at, emitted))
    return [(end + mark, emitted + mark) for end, emitted in chunks]


def _after(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    assert match is not None
    return match.end()
