"""Program. Acts once a library has been imported, whoever imports it and whenever; costs a dictionary look-up per
import."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[ModuleType], None]


class ImportWatch:
    """A finder in front of the others that steps aside when all it waits for has come."""

    def __init__(self, actions: dict[str, Action]) -> None:
        self._actions = actions
        sys.meta_path.insert(0, self)  # first: an action may import what another one waits for
        for name in [name for name in actions if name in sys.modules]:
            if action := self._take(name):
                action(sys.modules[name])

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        action = self._take(name)
        if action is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            _act_after_loading(spec.loader, action)
        return spec

    def _take(self, name: str) -> Action | None:
        action = self._actions.pop(name, None)
        if not self._actions and self in sys.meta_path:
            sys.meta_path.remove(self)
        return action


def _act_after_loading(loader: object, action: Action) -> None:
    execute: Action = loader.exec_module  # type: ignore[attr-defined]

    def exec_module(module: ModuleType) -> None:
        execute(module)
        action(module)

    loader.exec_module = exec_module  # type: ignore[attr-defined]
