"""Figures that the program has saved: while they are as they were they need not be drawn again.

A figure saved as PNG and not changed since is shown as it was saved. And ``plt.savefig`` draws the canvas once more
when it has saved, for the sake of windows: that is put off until somebody looks at the canvas, which few do.

No function of ours may stand between the program and matplotlib, its frame would show in tracebacks. So nothing is
wrapped: attributes that matplotlib sets and reads at the right moments are properties here.

- ``canvas.manager`` is None while a figure is printed, and put back when that is over, well or not.
- ``canvas.renderer`` is read by whoever looks at what was drawn.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import weakref
from pathlib import PurePath
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

#: A larger file is drawn again, in the size of the screen.
MAX_BYTES: Final = 1 << 20
#: Figures of which the file is kept: the last ones.
_MAX_FIGURES: Final = 16
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TRAILER: Final = b"IEND\xaeB`\x82"
#: In the dictionary of a canvas: a redraw was asked for.
_REDRAW: Final = "_redraw_is_due"
#: Values that are compared; other objects are the same or not.
_PLAIN: Final = frozenset({bool, int, float, str, bytes, tuple, type(None)})

#: Of an artist, a locator or a formatter.
State = tuple[int, list[tuple[str, object]]]


class SavedFigures:
    """What ``png`` finds is what a new drawing of the figure would show."""

    def __init__(self) -> None:
        self._saved: weakref.WeakKeyDictionary[Any, tuple[bytes, list[State]]] = weakref.WeakKeyDictionary()
        self._draw: CodeType | None = None

    def patch(self, backend_bases: ModuleType) -> None:
        def get_manager(canvas: Any) -> Any:
            return canvas.__dict__.get("manager")

        def set_manager(canvas: Any, manager: Any) -> None:
            before, canvas.__dict__["manager"] = canvas.__dict__.get("manager"), manager
            if before is None and manager is not None and sys.exc_info()[0] is None:
                self._on_printed(canvas)

        backend_bases.FigureCanvasBase.manager = property(get_manager, set_manager)

    def patch_agg(self, backend_agg: ModuleType) -> None:
        canvas_class = backend_agg.FigureCanvasAgg
        self._draw = canvas_class.draw.__code__

        def get_renderer(canvas: Any) -> Any:
            self._draw_what_is_due(canvas, sys._getframe(1))
            try:
                return canvas.__dict__["renderer"]
            except KeyError:
                raise AttributeError(f"{type(canvas).__name__!r} object has no attribute 'renderer'") from None

        def set_renderer(canvas: Any, renderer: Any) -> None:
            canvas.__dict__["renderer"] = renderer
            self._draw_what_is_due(canvas, sys._getframe(1))

        canvas_class.renderer = property(get_renderer, set_renderer)

    def png(self, figure: Any) -> bytes | None:
        """The file, or None if the figure was not saved as PNG or is not as it was then.

        Not seen are arrays that were changed in place, and rcParams.
        """
        png, before = self._saved.get(figure, (None, None))
        return png if png is not None and _state(figure) == before else None

    def _on_printed(self, canvas: Any) -> None:
        frame = _print_figure(sys._getframe(), canvas)
        if frame is None:
            return
        figure = canvas.figure
        self._saved.pop(figure, None)
        if frame.f_locals.get("format") != "png":
            return
        png = _content(frame.f_locals.get("filename"))
        if png.endswith(_TRAILER) and png.rfind(_SIGNATURE) == 0 and len(png) <= MAX_BYTES:
            for oldest in list(self._saved)[: len(self._saved) + 1 - _MAX_FIGURES]:
                del self._saved[oldest]
            self._saved[figure] = png, _state(figure)
        if self._draw is not None and type(canvas).draw.__code__ is self._draw and _is_called_by_pyplot(frame):
            state = canvas.__dict__
            state["draw_idle"] = lambda *_, **__: state.update({_REDRAW: state.pop("draw_idle")})

    def _draw_what_is_due(self, canvas: Any, asking: FrameType) -> None:
        """Unless it is for drawing it that the renderer is asked for."""
        if canvas.__dict__.pop(_REDRAW, None) is None:
            return
        caller = asking.f_back
        if asking.f_code is not self._draw and (caller is None or caller.f_code is not self._draw):
            canvas.draw()


def _print_figure(frame: FrameType | None, canvas: Any) -> FrameType | None:
    """The call that prints this canvas, if it is one that is about to return."""
    while frame is not None and frame.f_code.co_name != "print_figure":
        frame = frame.f_back
    return frame if frame is not None and frame.f_locals.get("self") is canvas else None


def _is_called_by_pyplot(frame: FrameType) -> bool:
    method = frame.f_back  # Figure.savefig
    caller = method and method.f_back
    if caller is None or caller.f_globals.get("__name__") != "matplotlib.pyplot":
        return False
    return caller.f_code.co_name == "savefig" and not sys.modules["matplotlib"].is_interactive()


def _state(figure: Any) -> list[State]:
    """All that an artist is drawn from is in attributes, its own or those of what places and writes the ticks. What an
    attribute refers to is another object when it was replaced, and that the artist was changed is one of them, too."""
    parts = figure.findobj()
    for axes in figure.axes:
        for axis in axes._axis_map.values():
            parts += [axis.major.locator, axis.major.formatter, axis.minor.locator, axis.minor.formatter]
    return [
        (id(part), [(name, value if type(value) in _PLAIN else id(value)) for name, value in vars(part).items()])
        for part in parts
    ]


def _content(file: object) -> bytes:
    if type(file) is io.BytesIO:
        return file.getvalue() if file.getbuffer().nbytes <= MAX_BYTES else b""
    if not isinstance(file, (str, PurePath)):
        return b""
    try:
        with open(file, "rb", opener=_open_regular) as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return b""


def _open_regular(path: str, flags: int) -> int:
    """Not a pipe, which would have to be waited for."""
    fd = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a file")
    return fd
