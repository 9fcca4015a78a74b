"""What CPython's compiler must not be given in a process that others live in: too much of a tree, or too deep.

The compiler writes the body of a ``finally`` once for each way out of its ``try``: the normal end, an exception, and
each ``return``, ``break`` and ``continue`` inside. Nested, that grows exponentially: 550 characters become gigabytes.
Each way out also leaves every ``with`` around it, and each nested ``lambda`` bears the names of all around it. Nothing
else was found that makes more than in proportion to its text.

From 3.12 on comprehensions are compiled into the code around them. Where some twenty of them and of ``with`` and
``try`` are nested, many releases write beyond an array and die (CPython's issues 113297 and 156091).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

# In nodes of the tree, copies included; as many are compiled in about 3 ms.
MOST: Final = 30_000

# What is compiled to more than an instruction or two. Comprehensions, lambdas and definitions are code objects.
_COSTS: Final[dict[type[ast.AST], int]] = {
    ast.With: 20,
    ast.AsyncWith: 20,
    ast.withitem: 30,
    ast.Try: 20,
    ast.TryStar: 40,
    ast.ExceptHandler: 20,
    ast.AsyncFor: 40,
    ast.Await: 10,
    ast.YieldFrom: 10,
    ast.Assert: 10,
    **dict.fromkeys((ast.match_case, ast.MatchSequence, ast.MatchMapping, ast.MatchClass, ast.MatchOr), 20),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda), 100),
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), 100),
}
# For each way out of them.
_OUT_OF_ASYNC_WITH: Final = 40
_OUT_OF_BLOCK: Final = 3
# The names of nested lambdas: so much for each pair of them.
_PAIR_OF_LAMBDAS: Final = 2

_INLINES: Final = sys.version_info >= (3, 12)
_LIKELY_WORDS: Final = re.compile(r"\b(?:for|try|except|with)\b")
# So many handlers inside one another are certain to be fewer than the compiler has room for.
_DEEPEST: Final = 12
_HANDLERS: Final[dict[type[ast.AST], int]] = {
    **dict.fromkeys((ast.Try, ast.TryStar), 2),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), 1),
    **dict.fromkeys((ast.ExceptHandler, ast.For, ast.AsyncFor, ast.comprehension), 1),
}

_EXITS: Final = (ast.Return, ast.Break, ast.Continue)
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class _Weight(NamedTuple):
    """``nodes`` that are compiled, ``exits`` among them that leave what is around the statements."""

    nodes: int
    exits: int


_NOTHING: Final = _Weight(0, 0)


def is_safe_to_compile(source: str, tree: ast.Module) -> bool:
    """Does the compiler make at most ``MOST`` of this, and survive it? ``source`` is the text of ``tree``; most texts
    show it by their words."""
    lambdas = source.count("lambda")
    if lambdas * lambdas * _PAIR_OF_LAMBDAS > MOST:
        return False
    if ("finally" in source or "async" in source) and weight(tree) > MOST:
        return False
    return not _INLINES or _most_handlers(source) <= _DEEPEST or not _is_too_deep(tree)


def _most_handlers(source: str) -> int:
    """No more than so many can be nested, going by the words."""
    if "for" not in source:
        return 0  # what has no comprehension is counted by the compiler itself
    found = _LIKELY_WORDS.findall(source)
    items = source.count(",") if "with" in found else 0
    return len(found) + found.count("for") + found.count("try") + items


def _is_too_deep(tree: ast.Module) -> bool:
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        for child in ast.iter_child_nodes(node):
            inside = depth + _HANDLERS.get(type(child), 0)
            if isinstance(child, (ast.With, ast.AsyncWith)):
                inside += len(child.items)
            if inside > _DEEPEST:
                return True
            todo.append((child, inside))
    return False


def weight(tree: ast.Module) -> int:
    """The nodes of the tree that are compiled, with their copies; above ``MOST``, some number above it."""
    return _weigh(tree.body, 0).nodes


def _weigh(statements: Sequence[ast.AST], way_out: int) -> _Weight:
    """``way_out``: what one exit from here compiles to besides the bodies of ``finally``. An upper bound: an exit is
    taken to leave all of its function."""
    nodes = exits = 0
    for statement in statements:
        weight = _weigh_one(statement, way_out)
        nodes += weight.nodes
        exits += weight.exits
        if nodes > MOST:
            break
    return _Weight(nodes, exits)


def _weigh_one(statement: ast.AST, way_out: int) -> _Weight:
    if isinstance(statement, _EXITS):
        return _Weight(_cost(statement) + way_out, 1)
    if isinstance(statement, (ast.Try, ast.TryStar)):
        return _weigh_try(statement, way_out)
    if isinstance(statement, _SCOPES):
        return _Weight(_weigh_children(statement, 0).nodes, 0)
    if isinstance(statement, ast.AsyncWith):
        return _weigh_children(statement, way_out + _OUT_OF_ASYNC_WITH * len(statement.items))
    if isinstance(statement, ast.With):
        return _weigh_children(statement, way_out + _OUT_OF_BLOCK * len(statement.items))
    return _weigh_children(statement, way_out + _OUT_OF_BLOCK)


def _weigh_try(statement: ast.Try | ast.TryStar, way_out: int) -> _Weight:
    inside = way_out + _OUT_OF_BLOCK
    guarded = _weigh([*statement.body, *statement.handlers, *statement.orelse], inside)
    if not statement.finalbody:
        return guarded._replace(nodes=guarded.nodes + _COSTS[ast.Try])
    final = _weigh(statement.finalbody, inside)
    copies = 2 + guarded.exits
    return _Weight(_COSTS[ast.Try] + guarded.nodes + final.nodes * copies, guarded.exits + final.exits * copies)


def _weigh_children(node: ast.AST, way_out: int) -> _Weight:
    """A statement, a handler or a case: its expressions as they are, the statements inside it weighed."""
    inside: list[ast.AST] = []
    nodes = _COSTS.get(type(node), 1)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            inside.append(child)
        else:
            nodes += _cost(child)
    weight = _weigh(inside, way_out) if inside else _NOTHING
    return _Weight(nodes + weight.nodes, weight.exits)


def _cost(node: ast.AST) -> int:
    return sum(_COSTS.get(type(each), 1) for each in ast.walk(node))
