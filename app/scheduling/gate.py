"""Is a chunk worth an execution of its own, and may it run before the program is complete? (EAGER, section 4.3)

A static, name-based check over the chunk's AST sorts it into at most one category; the policy turns that into a
decision. What a name stands for is known from the imports of the program so far: ``import os as o`` makes ``o.remove``
a use of ``os``. A name nobody imported stands for itself, since an earlier request of the session may have imported it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from app.scheduling import names

Category = Literal["low_yield", "side_effects", "timing", "dynamic"]
#: ``defer``: wait for a chunk that is worth an execution. ``serial``: nothing runs from here on until generation ends.
Decision = Literal["run", "defer", "serial"]
#: ``paper``: all four categories. ``permissive``: low_yield only. ``off``: none.
Policy = Literal["paper", "permissive", "off"]

_DEFAULT_NAMES: Final[Mapping[Category, frozenset[str]]] = {
    "side_effects": names.SIDE_EFFECTS,
    "timing": names.TIMING,
    "dynamic": names.DYNAMIC,
}
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

#: A magic, shell or help line, also as the right side of an assignment, after any blank lines and comments.
_MAGIC: Final = re.compile(r"(?:[^\S\n]*(?:\#[^\n]*)?\n)*[^\S\n]*(?:[%!?]|[^\n=\#'\"(]+=[^\S\n]*[%!])")


class Gate:
    """The gate of one block: it keeps the block's import aliases from chunk to chunk.

    Args:
        policy: which categories count.
        extra_names: dotted names to gate besides the default lists, by category.
    """

    def __init__(self, policy: Policy, extra_names: Mapping[Category, Iterable[str]] | None = None) -> None:
        self._policy: Policy = policy
        self._names: dict[str, Category] = {
            name: category for category, defaults in _DEFAULT_NAMES.items() for name in defaults
        }
        for category, extra in (extra_names or {}).items():
            self._names.update(dict.fromkeys(extra, category))
        self._longest = max(name.count(".") + 1 for name in self._names)
        self._aliases: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Gate {self._policy}, {len(self._names)} names, {len(self._aliases)} aliases>"

    def classify(self, tree: ast.Module | None, source: str) -> Category | None:
        """The category of the next chunk of the block. ``tree`` is None for what our grammar cannot parse: magics, and
        the syntax of a newer Python in the sandbox."""
        if self._policy == "off":
            return None
        if tree is None:
            return "side_effects" if self._policy == "paper" and _MAGIC.match(source) else None
        if self._policy == "paper" and (category := self._category_of_uses(tree)):
            return category
        # A definition that names an effect is not low-yield: the effect comes with a call we would not recognise.
        if tree.body and all(isinstance(statement, _DEFINITIONS) for statement in tree.body):
            return "low_yield"
        return None

    def decide(self, category: Category | None) -> Decision:
        """What the category means for the chunk."""
        if category is None:
            return "run"
        return "defer" if category == "low_yield" else "serial"

    def _category_of_uses(self, tree: ast.Module) -> Category | None:
        uses, star_imports = self._walk(tree)
        # Resolved after the walk: an import may come later in it than a use in the same chunk.
        found = {self._category_of(self._resolve(use)) for use in uses}
        found |= {self._category_of((module,)) for module in star_imports}
        return next((category for category in _DEFAULT_NAMES if category in found), None)

    def _walk(self, tree: ast.Module) -> tuple[set[tuple[str, ...]], list[str]]:
        """Dotted names read in the tree, and modules imported with ``*``. Notes the aliases. Each node is seen once:
        an attribute chain is unwound to its root where it is met."""
        uses: set[tuple[str, ...]] = set()
        star_imports: list[str] = []
        todo: list[ast.AST] = [tree]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Attribute):
                attributes = []
                root: ast.AST = node
                while isinstance(root, ast.Attribute):
                    attributes.append(root.attr)
                    root = root.value
                if isinstance(root, ast.Name):
                    uses.add((root.id, *attributes[: -self._longest - 1 : -1]))
                else:
                    todo.append(root)
            elif isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    uses.add((node.id,))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self._import(alias)
            elif isinstance(node, ast.ImportFrom):
                star_imports += self._import_from(node)
            else:
                todo.extend(ast.iter_child_nodes(node))
        return uses, star_imports

    def _import(self, alias: ast.alias) -> None:
        """``import a.b`` binds ``a`` to ``a``; ``import a.b as c`` binds ``c`` to ``a.b``."""
        root = alias.name.partition(".")[0]
        self._aliases[alias.asname or root] = alias.name if alias.asname else root

    def _import_from(self, node: ast.ImportFrom) -> list[str]:
        """Notes the names bound. Returns the module if it is imported with ``*``: what that binds cannot be seen."""
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                return [module]
            self._aliases[alias.asname or alias.name] = f"{module}.{alias.name}"
        return []

    def _resolve(self, use: tuple[str, ...]) -> tuple[str, ...]:
        known = self._aliases.get(use[0])
        resolved = use if known is None else (*known.split("."), *use[1:])
        return resolved[1:] if resolved[0] == "builtins" and len(resolved) > 1 else resolved

    def _category_of(self, dotted: tuple[str, ...]) -> Category | None:
        """The category of the longest listed prefix, so that a list can refine another's entry."""
        for length in range(min(len(dotted), self._longest), 0, -1):
            if category := self._names.get(".".join(dotted[:length])):
                return category
        return None
