"""IPython's lines against CPython's parser: a program with placeholders tells where the statements end, and then each
placeholder becomes a line that only IPython understands."""

from __future__ import annotations

import ast
import re
from random import Random

from tests.detection.oracle import Lines

PLACEHOLDER = "ZZ"
_LINES = (
    *("%time x", "%matplotlib inline", "!ls -l", '!echo "(', "!echo it's", "?a", "??a.b", "a?", "a.b??", "q = !ls"),
    *("q = %pwd", "!ls \\\n  -l", "%timeit [\\\n1", "!echo #", "%alias x {"),
)
Boundaries = list[tuple[int, int]]


def with_magics(text: str, tree: ast.Module, boundaries: Boundaries, random: Random) -> tuple[str, Boundaries]:
    """The program with IPython's lines for its placeholders, and its ``boundaries`` moved accordingly."""
    mark = text.startswith("\ufeff")
    lines = Lines(text[mark:])
    rows = re.split(r"\r\n|\r|\n", text[mark:])
    places = sorted(
        mark + lines.start(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Name) and node.value.id == PLACEHOLDER
        if rows[node.lineno - 1].strip() == PLACEHOLDER
        # Behind a backslash it belongs to the line before, where it is no line of IPython's to IPython either.
        if node.lineno == 1 or not rows[node.lineno - 2].endswith("\\")
    )
    for at in reversed(places):
        line = random.choice(_LINES)
        end = at + len(PLACEHOLDER)
        text = text[:at] + line + text[end:]
        grown = len(line) - len(PLACEHOLDER)
        boundaries = [(a + grown * (a >= end), b + grown * (b >= end)) for a, b in boundaries]
    return text, boundaries
