"""Program. ``display(...)``: the built-in function of notebooks, and IPython's functions of that name."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sandbox_image.figures import Figures
from sandbox_image.imports import ImportWatch
from sandbox_image.mime import Bundle, bounded, bundle, jsonable

#: Displays of one execution; a loop that displays ten thousand tables is a mistake.
MAX_DISPLAYS = 200

SendDisplay = Callable[[Bundle, Bundle], None]


class Displays:
    """What running code shows, up to a number per execution."""

    def __init__(self, send: SendDisplay) -> None:
        self._send = send
        self._count = 0
        self.figures = Figures(lambda data: self._show(data, {}))

    def install(self) -> None:
        """Costs nothing until something is displayed. No library is imported for it, they are waited for."""
        builtins.display = self.display  # type: ignore[attr-defined]
        ImportWatch(
            {
                "matplotlib.backend_bases": self.figures.patch,
                "IPython.core.display_functions": self._patch_ipython,
                "plotly.io": _plotly_as_json,
                "altair": _altair_as_json,
            }
        )
        if "IPython.display" in sys.modules:
            self._patch_ipython(sys.modules["IPython.display"])

    def begin(self) -> None:
        self._count = 0

    def display(
        self,
        *values: Any,
        raw: bool = False,
        metadata: Bundle | None = None,
        display_id: object = None,
        **options: Any,
    ) -> DisplayHandle | None:
        """Show values in all the ways they know. With ``raw`` they are MIME bundles already."""
        for value in values:
            if raw:
                self._show(bounded(dict(value)), dict(metadata or {}))
                continue
            data, own_metadata = bundle(value)
            if data:
                self.figures.mark_shown(value)
                self._show(data, {**own_metadata, **(metadata or {})})
        return DisplayHandle(self) if display_id is not None else None

    def publish(self, data: Bundle, metadata: Bundle | None = None, **options: Any) -> None:
        """IPython's ``publish_display_data``."""
        self._show(bounded(dict(data)), dict(metadata or {}))

    def _show(self, data: Bundle, metadata: Bundle) -> None:
        self._count += 1
        if self._count < MAX_DISPLAYS:
            self._send(data, jsonable(metadata))
        elif self._count == MAX_DISPLAYS:
            self._send({"text/plain": f"[more than {MAX_DISPLAYS} displays: the rest is left out]"}, {})

    def _patch_ipython(self, module: ModuleType) -> None:
        """IPython's own would print the text alone: they look for a notebook."""
        module.display = self.display  # type: ignore[attr-defined]
        module.publish_display_data = self.publish  # type: ignore[attr-defined]


def _plotly_as_json(module: ModuleType) -> None:
    """Also for ``fig.show()``, which would look for a web browser."""
    module.renderers.default = "plotly_mimetype"


def _altair_as_json(module: ModuleType) -> None:
    module.renderers.enable("mimetype")


class DisplayHandle:
    """What ``display(..., display_id=True)`` returns. Nothing sent can be taken back: an update is shown anew."""

    def __init__(self, displays: Displays) -> None:
        self._displays = displays

    def display(self, value: object, **options: Any) -> None:
        self._displays.display(value)

    update = display
