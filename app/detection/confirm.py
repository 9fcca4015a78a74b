"""One parse of a complete chunk: its tree, for the gate, or why it can never compile.

Only for a grammar that is this interpreter's own, and for chunks that are not large. For others, and for IPython's
lines, the answer is None: the sandbox, which compiles them anyway, finds out. What the compiler could make too much of
or die of (``growth.py``) is parsed and not compiled here, for the same reason.
"""

from __future__ import annotations
import __future__

import ast
import sys
from typing import Final

from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.compiling import Refusal, parse, refusal_of
from app.detection.growth import is_safe_to_compile

# Parsing and compiling take 0.7 us a character of ordinary code: just under 2 ms.
_LARGEST: Final = 2_500


def is_large(chunk: Chunk) -> bool:
    """Would confirming it hold the event loop for 2 ms? A thread would not help: the compiler keeps the GIL (a class of
    10,000 lines held the loop for all of its 135 ms). Such chunks are left to the sandbox, which compiles them anyway.
    """
    return len(chunk.source) > _LARGEST


class Confirmer:
    """Confirms the chunks of one block of code, in their order: what a ``from __future__`` changes holds for the chunks
    after it, and it must stand before all else."""

    def __init__(self, version: tuple[int, int]) -> None:
        self._same_grammar = version == sys.version_info[:2]
        self._flags = 0
        self._head = True  # nothing yet but a docstring and future imports

    def __repr__(self) -> str:
        return f"{type(self).__name__}(same_grammar={self._same_grammar}, flags={self._flags:#x}, head={self._head})"

    def confirm(self, chunk: Chunk) -> ast.Module | SyntaxProblem | None:
        """Line numbers in the tree count from the first line of the chunk, those of a problem from that of the code."""
        if not self._same_grammar or chunk.kind in ("magic", "trivia"):
            return None
        if is_large(chunk):
            self._head = chunk.index == 0 and chunk.kind == "simple"  # it may be a docstring
            return None
        source = chunk.source if chunk.plain is None else chunk.plain
        if chunk.start == 0:
            source = source.removeprefix("\ufeff")
        # What follows a semicolon starts with blanks, which only code before them makes legal.
        after_semicolon = chunk.column > 0 and not source.startswith("#")
        if after_semicolon:
            source = "0" + " " * max(chunk.column - 2, 0) + ";" + source
        # A chunk may end in a backslash and a newline, if a comment ended its statement.
        tree = parse(source + (" \n" if source.endswith("\r") else "\n"))
        if tree is None or isinstance(tree, Refusal):
            return _problem(chunk, tree) if tree else None
        if after_semicolon:
            del tree.body[0]
        refusal = refusal_of(tree, self._flags) if is_safe_to_compile(source, tree) else None
        refusal = refusal or self._check_future(tree, first=chunk.index == 0)
        return _problem(chunk, refusal) if refusal else tree

    def _check_future(self, tree: ast.Module, *, first: bool) -> Refusal | None:
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.level == 0:
                if not self._head:
                    message = "from __future__ imports must occur at the beginning of the file"
                    return Refusal(message, node.lineno, "SyntaxError")
                for name in node.names:
                    self._flags |= getattr(__future__, name.name).compiler_flag
            elif not (first and isinstance(node, ast.Expr) and _is_string(node.value)):
                self._head = False
        return None


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _problem(chunk: Chunk, refusal: Refusal) -> SyntaxProblem:
    return SyntaxProblem(refusal.message, chunk.line + refusal.line - 1, chunk.end, refusal.kind)
