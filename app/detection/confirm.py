"""One parse of a complete chunk: its tree, for the gate, or why it can never compile.

Only for a grammar that is this interpreter's own; for another one, and for IPython's lines, the answer is None and the
sandbox finds out.
"""

from __future__ import annotations

import __future__

import ast
import sys
from typing import Final

from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.compiling import Refusal, parse, refusal_of

# Parsing and compiling take up to 0.6 us a character: 2 ms.
_LARGE: Final = 3_000


def is_large(chunk: Chunk) -> bool:
    """Would confirming it hold the event loop for longer than about 2 ms? Then do it in a thread."""
    return len(chunk.source) > _LARGE


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
        source = chunk.source.removeprefix("\ufeff") if chunk.start == 0 else chunk.source
        # What follows a semicolon starts with blanks, which only code before them makes legal.
        after_semicolon = chunk.column > 1 and not source.startswith("#")
        if after_semicolon:
            source = "0" + " " * (chunk.column - 2) + ";" + source
        # A chunk may end in a backslash and a newline, if a comment ended its statement.
        tree = parse(source + "\n")
        if tree is None or isinstance(tree, Refusal):
            return _problem(chunk, tree) if tree else None
        refusal = refusal_of(tree, self._flags) or self._check_future(tree)
        if refusal:
            return _problem(chunk, refusal)
        if after_semicolon:
            del tree.body[0]
        return tree

    def _check_future(self, tree: ast.Module) -> Refusal | None:
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.level == 0:
                if not self._head:
                    message = "from __future__ imports must occur at the beginning of the file"
                    return Refusal(message, node.lineno, "SyntaxError")
                for name in node.names:
                    self._flags |= getattr(__future__, name.name).compiler_flag
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                self._head = False
        return None


def _problem(chunk: Chunk, refusal: Refusal) -> SyntaxProblem:
    return SyntaxProblem(refusal.message, chunk.line + refusal.line - 1, chunk.end, refusal.kind)
