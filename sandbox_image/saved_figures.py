"""Program. Figures that the program has saved: while they are as they were they need not be drawn again.

A figure saved as PNG and not changed since is shown as it was saved. After saving, ``plt.savefig`` draws the canvas
once more, for the sake of windows. Where it is a statement of its own, that is put off until a statement comes that may
see it. Nobody sees the figures of a program that has ended.

No function of ours may stand between the program and matplotlib, its frame would show in tracebacks. So nothing is
wrapped: ``canvas.manager``, which is None while a figure is printed and put back when that is over, is a property here.

How is it known that a figure was not changed? Where it was saved by a statement of its own, and only statements came
since that change no figure (plain_calls.py), nothing has to be looked at. Else all of it is compared
(figure_state.py).
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
import weakref
from pathlib import PurePath
from types import FrameType, ModuleType
from typing import Any, Final

from sandbox_image import figure_state
from sandbox_image.figure_state import FigureState
from sandbox_image.mime import figure_png

#: A larger file is drawn again, in the size of the screen.
MAX_BYTES: Final = 1 << 20
#: Figures of which the file is kept: the last ones.
_MAX_FIGURES: Final = 16
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TRAILER: Final = b"IEND\xaeB`\x82"
_PYPLOT: Final = "matplotlib.pyplot"


class SavedFigures:
    """``begin_statement`` comes before each statement; what ``png`` finds is what drawing the figure would show."""

    def __init__(self) -> None:
        #: The file, and the state of the figure then; None: no statement has run since that could change it.
        self._saved: weakref.WeakKeyDictionary[Any, tuple[bytes, FigureState | None]] = weakref.WeakKeyDictionary()
        self._due: weakref.WeakSet[Any] = weakref.WeakSet()  # canvases to be redrawn
        self._namespace: dict[str, Any] | None = None  # of the program, while a statement runs that only saves

    def patch(self, backend_bases: ModuleType) -> None:
        def get_manager(canvas: Any) -> Any:
            return canvas.__dict__.get("manager")

        def set_manager(canvas: Any, manager: Any) -> None:
            before, canvas.__dict__["manager"] = canvas.__dict__.get("manager"), manager
            if before is None and manager is not None and sys.exc_info()[0] is None:
                self._on_printed(canvas)

        backend_bases.FigureCanvasBase.manager = property(get_manager, set_manager)

    def begin_statement(self, call: tuple[str, str] | None, namespace: dict[str, Any]) -> bool:
        """``call`` is what ``plain_call`` says of the statement. True: ``settle`` has to come before it."""
        if call is None and not self._saved and not self._due:  # as nearly always
            self._namespace = None
            return False
        harmless = call is not None and _is_harmless(call, namespace)
        self._namespace = namespace if harmless and call is not None and call[1] == "savefig" else None
        return not harmless and bool(self._due or any(state is None for _, state in self._saved.values()))

    def settle(self) -> None:
        """Do what was put off: the next statement may see it, or change what was saved."""
        while self._due:
            _redraw(self._due.pop())
        for figure, (png, state) in list(self._saved.items()):
            if state is None:
                self._keep(figure, png, figure_state.of(figure))

    def png(self, figure: Any) -> bytes | None:
        """The file, or None if the figure was not saved as PNG or is not as it was then.

        Not seen are arrays that were changed in place, and rcParams.
        """
        png, before = self._saved.get(figure, (None, None))
        return png if before is None or figure_state.of(figure) == before else None

    def _on_printed(self, canvas: Any) -> None:
        frame = _print_figure(sys._getframe(), canvas)
        if frame is None:
            return
        method = frame.f_back
        if method is None or method.f_code.co_name != "savefig":
            return
        if method.f_back is not None and method.f_back.f_code is figure_png.__code__:
            return  # it is being shown: looking at its state would be work for nothing
        figure = canvas.figure
        self._saved.pop(figure, None)
        if canvas.callbacks.callbacks.get("draw_event") or figure_state.parts_of(figure) is None:
            return  # drawing it runs code of the program
        by_pyplot, is_statement = self._circumstances(method)
        png = _shown_png(figure, frame, method)
        if png is not None and (is_statement or not by_pyplot):
            self._keep(figure, png, None if is_statement else figure_state.of(figure))
        if by_pyplot:
            self._await_redraw(canvas, None if is_statement else png)

    def _await_redraw(self, canvas: Any, png: bytes | None) -> None:
        """For the redraw that pyplot is about to ask for: done now, it is after it that the state counts."""

        def draw_idle(*_: object, **__: object) -> None:
            del canvas.__dict__["draw_idle"]
            if self._namespace is not None:
                self._due.add(canvas)
                return
            _redraw(canvas)
            if png is not None:
                self._keep(canvas.figure, png, figure_state.of(canvas.figure))

        canvas.__dict__["draw_idle"] = draw_idle

    def _keep(self, figure: Any, png: bytes, state: FigureState | None) -> None:
        for oldest in [known for known in self._saved if known is not figure][: 1 - _MAX_FIGURES]:
            del self._saved[oldest]
        self._saved[figure] = png, state

    def _circumstances(self, method: FrameType) -> tuple[bool, bool]:
        """Whether it was called by pyplot's function of that name, and whether that is all that the statement does."""
        caller = method.f_back
        by_pyplot = caller is not None and caller.f_globals.get("__name__") == _PYPLOT
        if by_pyplot and caller is not None:
            caller = caller.f_back
        is_statement = (
            self._namespace is not None
            and caller is not None
            and caller.f_globals is self._namespace
            and caller.f_code.co_name == "<module>"
            and not sys.modules["matplotlib"].is_interactive()
        )
        return by_pyplot, is_statement


def _redraw(canvas: Any) -> None:
    """Saving has drawn the same just before: what there is to warn of has been said, of the program's line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        canvas.draw_idle()


def _is_harmless(call: tuple[str, str], namespace: dict[str, Any]) -> bool:
    """The names mean what they usually do."""
    name, method = call
    if method == "print":
        return "print" not in namespace
    value = namespace.get(name)
    if value is not None and value is sys.modules.get(_PYPLOT):
        return True
    figures = sys.modules.get("matplotlib.figure")
    return figures is not None and type(value) is figures.Figure


def _print_figure(frame: FrameType | None, canvas: Any) -> FrameType | None:
    """The call that prints this canvas, if it is one that is about to return."""
    while frame is not None and frame.f_code.co_name != "print_figure":
        frame = frame.f_back
    return frame if frame is not None and frame.f_locals.get("self") is canvas else None


def _shown_png(figure: Any, printing: FrameType, method: FrameType) -> bytes | None:
    """The file, if it shows all of the figure, as large as on the screen at least, and with its background."""
    said, asked = printing.f_locals, method.f_locals.get("kwargs", {})
    if said.get("format") != "png" or method.f_locals.get("transparent"):
        return None
    if asked.get("bbox_inches") not in (None, "tight") or not _is_number(dpi := said.get("dpi")) or dpi < figure.dpi:
        return None
    data = _content(said.get("filename"))
    whole = len(data) <= MAX_BYTES and data.rfind(_SIGNATURE) == 0 and data.endswith(_TRAILER)
    return data if whole else None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


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
