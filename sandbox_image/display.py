"""Program. ``display(...)``: the built-in function of notebooks, and IPython's functions of that name."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from sandbox_image import bokeh_charts, fonts
from sandbox_image.drawing_warnings import ProgramPlace
from sandbox_image.figures import Figures
from sandbox_image.imports import ImportWatch
from sandbox_image.mime import Bundle, bounded, bundle, jsonable

#: Displays of one execution; a loop that displays ten thousand tables is a mistake.
MAX_DISPLAYS = 200
#: How tables are written in a session, in every backend.
PANDAS_OPTIONS: Final = {"display.max_columns": 60, "display.width": 120}
#: A terminal's cursor goes home, its screen and what was scrolled off it are erased (ECMA-48, xterm).
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"

SendDisplay = Callable[[Bundle, Bundle], None]


class Displays:
    """What running code shows, up to a number per execution."""

    def __init__(self, send: SendDisplay, place: ProgramPlace) -> None:
        self._send = send
        self._place = place
        self._count = 0
        self.figures = Figures(lambda data: self._show(data, {}), place)

    def install(self) -> None:
        """Costs nothing until something is displayed. No library is imported for it, they are waited for."""
        builtins.display = self.display  # type: ignore[attr-defined]
        ImportWatch(
            {
                **self.figures.actions(),
                "IPython.core.display_functions": self._patch_ipython,
                "PIL.ImageShow": self._patch_pillow,
                "pandas": show_all_columns,
                "plotly.io": _plotly_as_json,
                "altair": _altair_as_json,
                "bokeh.io": lambda io: bokeh_charts.show_by(io, self.publish),
                "matplotlib.font_manager": fonts.add,
                "matplotlib.text": fonts.watch,
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
            data, own_metadata = bundle(value, self._place)
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

    def clear_output(self, wait: bool = False) -> None:
        """IPython's: all that was shown is gone. What was sent cannot be taken back, so a terminal is told."""
        sys.stdout.write(_CLEAR)
        sys.stdout.flush()

    def _patch_ipython(self, module: ModuleType) -> None:
        """IPython's own would print the text alone: they look for a notebook."""
        module.display = self.display  # type: ignore[attr-defined]
        module.publish_display_data = self.publish  # type: ignore[attr-defined]
        module.clear_output = self.clear_output  # type: ignore[attr-defined]

    def _patch_pillow(self, module: ModuleType) -> None:
        """``Image.show()`` looks for a program with a window."""
        displays = self

        class Viewer(module.Viewer):  # type: ignore[name-defined, misc]
            def show(self, image: object, **options: object) -> int:
                displays.display(image)
                return 1

        module.register(Viewer(), 0)


def show_all_columns(pandas: ModuleType) -> None:
    """pandas' own choice depends on whether it finds a terminal or a notebook, and leaves out what is wider than 80
    characters. Whoever reads the text cannot scroll: wide tables are broken into blocks instead."""
    for name, value in PANDAS_OPTIONS.items():
        pandas.set_option(name, value)


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
