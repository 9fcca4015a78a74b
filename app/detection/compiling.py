"""CPython's own compiler, asked quietly: its warnings belong to the sandbox, which compiles the code again."""

from __future__ import annotations

import ast
import re
import warnings
from types import CodeType
from typing import Final, NamedTuple

# ``codeop`` has these two names, and the standard library's stubs do not.
_ALLOW_INCOMPLETE_INPUT: Final = 0x4000
_DONT_IMPLY_DEDENT: Final = 0x200

_FILE: Final = "<eager>"
#: CPython gives its warnings the file for a module, or (from 3.13.5 on) the module that calls the compiler.
_IGNORE: Final = ("ignore", None, Warning, re.compile(f"{re.escape(_FILE)}|{re.escape(__name__)}"), 0)


class Refusal(NamedTuple):
    """``line`` counts from 1 in what was compiled."""

    message: str
    line: int
    kind: str


def parse(source: str) -> ast.Module | Refusal | None:
    """The tree, or why there can be none; None if this process cannot tell."""
    tree = _compile(source, ast.PyCF_ONLY_AST)
    assert not isinstance(tree, CodeType)
    return tree


def refusal_of_prefix(source: str) -> Refusal | None:
    """Why no program can begin like this. ``source`` must not end within a token."""
    answer = _compile(source, ast.PyCF_ONLY_AST | _ALLOW_INCOMPLETE_INPUT | _DONT_IMPLY_DEDENT)
    return answer if isinstance(answer, Refusal) and "incomplete input" not in answer.message else None


def refusal_of(tree: ast.Module, flags: int = 0) -> Refusal | None:
    """What the compiler has against code that can be parsed: ``return`` outside a function, ..."""
    code = _compile(tree, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | flags)
    return code if isinstance(code, Refusal) else None


def _compile(source: str | ast.Module, flags: int) -> ast.Module | CodeType | Refusal | None:
    # A filter for our own compiling only. ``catch_warnings`` would be wrong here: it is not safe where threads compile,
    # and with -W error a warning would look like a syntax error.
    if not warnings.filters or warnings.filters[0] != _IGNORE:
        warnings.filterwarnings("ignore", module=_IGNORE[3].pattern)
    try:
        compiled: ast.Module | CodeType = compile(source, _FILE, "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return Refusal(error.msg, error.lineno or 1, type(error).__name__)
    except ValueError as error:  # escapes in a format specification, lone surrogates
        return Refusal(str(error), 1, type(error).__name__)
    # Nested too deeply for this stack, or a fault of the compiler's own: the sandbox has the last word.
    except (RecursionError, MemoryError, SystemError, OverflowError):
        return None
    return compiled
