"""Program. Module annotations over chunks, from Python 3.14 on: each chunk stores an ``__annotate__`` over the last
one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_Annotate = Callable[[Any], dict[str, Any]]


class AnnotationChain:
    """Puts the functions of all chunks together into one, as the compiler does for a whole file.

    With each goes its ``__conditional_annotations__``: the numbers of the annotations that were reached, which the
    function looks up in the module when it is called, and which every chunk starts anew.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._parts: list[tuple[_Annotate, Any]] = []
        self._chained: _Annotate | None = None

    def extend(self) -> None:
        """To be called after each chunk."""
        annotate = self._namespace.get("__annotate__")
        if sys.version_info < (3, 14) or annotate is None or annotate is self._chained:
            return
        self._parts.append((annotate, self._namespace.get("__conditional_annotations__")))
        if self._chained is not None or len(self._parts) > 1:
            self._namespace.pop("__annotations__", None)  # a cached result lacks the new ones
        self._namespace["__annotate__"] = self._chained = self._annotate_all

    def clear(self) -> None:
        """Another program begins in the same namespace."""
        self._parts.clear()
        self._chained = None
        if sys.version_info >= (3, 14):
            for name in ("__annotate__", "__annotations__", "__conditional_annotations__"):
                self._namespace.pop(name, None)

    def _annotate_all(self, format: Any, /) -> dict[str, Any]:
        import annotationlib  # type: ignore[import-not-found, unused-ignore]  # of 3.14

        if format == annotationlib.Format.VALUE_WITH_FAKE_GLOBALS:
            raise NotImplementedError(format)
        merged: dict[str, Any] = {}
        now = self._namespace.get("__conditional_annotations__")
        try:
            for annotate, reached in self._parts:
                self._namespace["__conditional_annotations__"] = reached
                merged.update(annotationlib.call_annotate_function(annotate, format))
        finally:
            self._namespace["__conditional_annotations__"] = now
        return merged
