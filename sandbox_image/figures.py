"""Program. matplotlib figures: sent when the program shows them, or at the end of the block when they are still open
and hold something."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sandbox_image.failures import as_text, without_runner
from sandbox_image.mime import Bundle, bounded, figure_png, is_figure
from sandbox_image.saved_figures import SavedFigures

Emit = Callable[[Bundle], None]


class Figures:
    """Stands behind ``plt.show()`` for backends without a window, and closes the block's figures.

    As with a window that was closed, a figure is gone once it was shown.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._shown: weakref.WeakSet[Any] = weakref.WeakSet()
        self.saved = SavedFigures()

    def patch(self, backend_bases: ModuleType) -> None:
        """Managers without a window show nothing: make them show here. Backends with one have methods of their own."""
        figures = self
        self.saved.patch(backend_bases)

        def pyplot_show(cls: type, *, block: bool | None = None) -> None:
            figures.show_all()

        def show(manager: Any) -> None:
            figures.show(manager.canvas.figure)

        backend_bases.FigureManagerBase.pyplot_show = classmethod(pyplot_show)
        backend_bases.FigureManagerBase.show = show

    def show(self, figure: Any) -> None:
        """``fig.show()``: it stays open, and is not sent again at the end."""
        self._shown.add(figure)
        png = self.saved.png(figure) or figure_png(figure)
        self._emit(bounded({"image/png": png, "text/plain": repr(figure)}))

    def mark_shown(self, value: object) -> None:
        """A value that was displayed by name; it may be a figure."""
        if is_figure(value):
            self._shown.add(value)

    def show_all(self, *, blank: bool = True) -> None:
        """Send what has not been sent and close everything; ``blank``: also figures in which there is nothing."""
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is None:
            return
        try:
            for manager in sorted(helpers.Gcf.get_all_fig_managers(), key=lambda manager: manager.num):
                figure = manager.canvas.figure
                if figure not in self._shown and (blank or not _is_blank(figure)):
                    self.show(figure)
        finally:
            self._shown.clear()
            helpers.Gcf.destroy_all()

    def finish(self) -> None:
        """The end of a block: there is no program left to raise to."""
        try:
            self.show_all(blank=False)
        except Exception as error:
            error.__traceback__ = without_runner(error.__traceback__)
            self._emit({"text/plain": as_text(error)})


def _is_blank(figure: Any) -> bool:
    """Axes as they are made, and nothing else: no data, no word, no style of their own."""
    parts = (figure.texts, figure.images, figure.lines, figure.patches, figure.artists, figure.legends, figure.subfigs)
    styled = figure.patch.get_facecolor() != _colour("figure.facecolor")
    return not any(parts) and not styled and all(map(_is_empty, figure.axes))


def _is_empty(axes: Any) -> bool:
    if axes.name != "rectilinear" or axes.has_data() or not (axes.get_autoscale_on() and axes.axison):
        return False
    if axes.texts or axes.tables or axes.artists or axes.child_axes or axes.get_legend():
        return False
    axis_parts = (axes.xaxis, axes.yaxis)
    said = [axes.get_title(place) for place in ("left", "center", "right")]
    said += [axis.label.get_text() for axis in axis_parts]
    if any(said) or any(axis.get_scale() != "linear" or not axis.isDefault_majloc for axis in axis_parts):
        return False
    edges = {spine.get_edgecolor() for spine in axes.spines.values() if spine.get_visible()}
    return axes.get_facecolor() == _colour("axes.facecolor") and edges <= {_colour("axes.edgecolor")}


def _colour(setting: str) -> Any:
    matplotlib = sys.modules["matplotlib"]
    return matplotlib.colors.to_rgba(matplotlib.rcParams[setting])
