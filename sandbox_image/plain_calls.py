"""Program. Statements of which can be said, before they run, how little they do."""

from __future__ import annotations

import ast

_METHODS = frozenset({"savefig", "show", "close"})


def plain_call(statement: ast.stmt) -> tuple[str, str] | None:
    """``print(...)`` is ("", "print"), ``plt.savefig(...)`` is ("plt", "savefig"), and so on for what is done with a
    finished figure; None for anything else, and where an argument is more than constants, names, f-strings of these."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return None
    call = statement.value
    match call.func:
        case ast.Name("print"):
            named = "", "print"
        case ast.Attribute(ast.Name(name), method) if method in _METHODS:
            named = name, method
        case _:
            return None
    values = (*call.args, *(keyword.value for keyword in call.keywords))
    return named if all(map(_is_plain, values)) else None


def _is_plain(value: ast.expr) -> bool:
    match value:
        case ast.Constant() | ast.Name():
            return True
        case ast.JoinedStr(parts):
            return all(map(_is_plain, parts))
        case ast.FormattedValue(part, _, specification):
            return _is_plain(part) and (specification is None or _is_plain(specification))
    return False
