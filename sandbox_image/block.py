"""Program. The code of one block as far as it is known, and the compilation of its chunks as parts of that one
program."""

from __future__ import annotations
import __future__

import ast
import contextlib
import linecache
import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType

from sandbox_image import beside_file
from sandbox_image.plain_calls import plain_call

_FUTURE_FLAGS = 0
for _name in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag

#: (line from 1, column in UTF-8 bytes, source)
SourcePiece = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A chunk, ready to run: all statements but a last expression, then the value of that.

    Attributes:
        quiet: a semicolon follows the last expression, its value is not displayed.
        call: what ``plain_call`` says of it, if it is one statement.
    """

    statements: CodeType | None
    value: CodeType | None
    quiet: bool = False
    call: tuple[str, str] | None = None

    @property
    def is_empty(self) -> bool:
        """Only comments: it changes nothing, not even which statement is the last one."""
        return self.statements is None and self.value is None


class BlockCode:
    """One program: one file name, one docstring, one set of future flags, lines that count through.

    A shadow file holds what was received, so that everything that reads sources (inspect, pickle, spawned processes,
    tracebacks) finds the program; where it cannot be written, linecache alone has the source.
    """

    def __init__(self, name: str, filename: str) -> None:
        self.name = name
        self.filename = filename
        self.over = False
        self._lines: list[str] = [""]  # the last one is unfinished
        self._flags = 0
        self._first = True  # no statement yet
        self._head = True  # only the docstring and future imports so far

    def __repr__(self) -> str:
        return f"<BlockCode {self.name!r}, {len(self._lines)} lines known>"

    def add(self, pieces: Iterable[SourcePiece]) -> None:
        """Make source known, before any of it is compiled: a statement is then shown with its trailing comment."""
        text = "".join(source for _, _, source in pieces)
        anew = self._lines == [""]
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[0] = self._lines.pop() + lines[0]
        self._lines += [line + "\n" for line in lines[:-1]]
        self._lines.append(lines[-1])
        # No modification time: checkcache() then leaves the entry alone.
        linecache.cache[self.filename] = (len(text), None, self._lines, self.filename)
        # After a rollback there may be a file already, of a block that never was.
        self._write(text, anew=anew)

    def _write(self, text: str, *, anew: bool) -> None:
        """Into the shadow file. Not by ``open()``, whose layers cost each execution 8 us."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        new = flags | os.O_CREAT | os.O_TRUNC
        with contextlib.suppress(OSError):
            try:
                file = os.open(self.filename, new if anew else flags | os.O_APPEND, 0o666)
            except FileNotFoundError:  # the program has tidied up
                os.makedirs(os.path.dirname(self.filename), 0o700, exist_ok=True)
                file = os.open(self.filename, new, 0o666)
                text = "".join(self._lines)
            data = text.encode("utf-8", "replace")
            try:
                while data:
                    data = data[os.write(file, data) :]
            finally:
                os.close(file)

    def compile(self, line: int, column: int, source: str) -> Compiled:
        """A chunk as the part of the whole program that it is.

        Raises:
            SyntaxError: placed in the whole program.
            Exception: whatever else the compiler says (ValueError, UnicodeEncodeError, MemoryError, RecursionError).
        """
        if "\0" in source:
            line += source[: source.index("\0")].count("\n")
            raise SyntaxError("source code cannot contain null bytes", (self.filename, line, 0, None))
        if line == 1 and column == 0:
            source = source.removeprefix("\ufeff")
        # Padding puts lines and columns right. A statement of ours stands before what is not the head of the program.
        if column:
            text = "\n" * (line - 1) + "0" + " " * (column - 2) + ";" + source + "\n"
        elif self._head:
            text = "\n" * (line - 1) + source + "\n"
        else:
            text = "\n" * (line - 2) + "0\n" + source + "\n"
        try:
            tree = compile(text, self.filename, "exec", self._flags | _AWAIT | ast.PyCF_ONLY_AST, dont_inherit=True)
            assert isinstance(tree, ast.Module)
            if column or not self._head:
                del tree.body[0]
            return self._compile_tree(tree, text, line, column, source)
        except SyntaxError as error:
            self._place(error, line, column)
            raise
        except RecursionError:
            # Trees as Python objects allow less depth than the compiler does on its own.
            return self._keep_flags(Compiled(self._code(text, "exec"), None))

    def _compile_tree(self, tree: ast.Module, text: str, line: int, column: int, source: str) -> Compiled:
        body = tree.body
        if not body:
            return Compiled(None, None)
        has_docstring = self._first and _is_string(body[0])
        head = self._head and all(map(_is_future_import, body[has_docstring:]))
        if not self._first and (_is_string(body[0]) or (_is_future_import(body[0]) and not self._head)):
            # The compiler would take it for the head of a program.
            body.insert(0, ast.Pass(lineno=line, col_offset=0, end_lineno=line, end_col_offset=0))
        last = body[-1]
        call = plain_call(last) if len(body) == 1 else None
        value = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
        if value is not None and not (has_docstring and len(body) == 1):
            del body[-1]
        try:
            compiled = Compiled(
                self._code(tree, "exec") if body else None,
                self._code(value, "eval") if value is not None else None,
                isinstance(last, ast.Expr) and ";" in source and _semicolon_follows(last, line, column, source),
                call,
            )
        except SyntaxError:
            self._code(text, "exec")  # raises the same, on 3.11 with columns that trees have lost
            raise
        self._first, self._head = False, head
        return self._keep_flags(compiled)

    def _code(self, tree: ast.Module | ast.Expression | str, mode: str) -> CodeType:
        code = compile(tree, self.filename, mode, self._flags | _AWAIT, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

    def _keep_flags(self, compiled: Compiled) -> Compiled:
        if compiled.statements is not None:
            self._flags |= compiled.statements.co_flags & _FUTURE_FLAGS
        return compiled

    def _place(self, error: SyntaxError, line: int, column: int) -> None:
        """Show the real line instead of our padding, with offsets in its characters.

        The compiler reads the line from the shadow file, if there is one, and then all is right.
        """
        if error.filename != self.filename or error.lineno is None or not 0 < error.lineno <= len(self._lines):
            return
        shown, error.text = error.text, self._lines[error.lineno - 1]
        if column and error.lineno == line and (shown or "").rstrip() != error.text.rstrip():
            before = error.text.encode("utf-8", "replace")[:column]
            shift = column - len(before.decode("utf-8", "replace"))
            if error.offset:
                error.offset -= shift
            if error.end_offset and error.end_lineno == line:
                error.end_offset -= shift


_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_future_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__" and statement.level == 0


def _semicolon_follows(last: ast.Expr, line: int, column: int, source: str) -> bool:
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    lines = source.encode("utf-8", "replace").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    index = last.end_lineno - line
    offset = last.end_col_offset - (column if index == 0 else 0)
    return lines[index][offset:].lstrip(b" \t\f").startswith(b";")


class Shadows:
    """The folder of the shadow files: one file per block, made when the first block begins."""

    def __init__(self, work_folder: str) -> None:
        self._work_folder = work_folder
        self._folder: str | None = None
        self._count = 0

    def new_block(self, name: str, *, counts: bool) -> BlockCode:
        """One that does not count leaves its file name to the next."""
        if self._folder is None:
            self._folder = _make_folder()
        beside_file.link(self._folder, self._work_folder)
        self._count += counts
        number = f"_{self._count}" if self._count > 1 else ""
        return BlockCode(name, os.path.join(self._folder, f"main{number}.py"))

    def end_block(self) -> None:
        if self._folder is not None:
            beside_file.bring(self._folder, self._work_folder)


def _make_folder() -> str:
    """Named after the process: the same in every fresh sandbox, so that tracebacks are too."""
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"session-{os.getpid()}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return tempfile.mkdtemp(prefix="session-")
    except OSError:
        pass  # nothing can be written here: the sources live in linecache
    return folder
