"""Program. matplotlib figures: sent when the program shows them, or at the end of the block when they are still open
and hold something.

What is sent is drawn then, so a picture holds what its figure held at that moment. A figure that was shown and stays
open (``fig.show()``, ``display(fig)``) is sent again if it was changed since.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sandbox_image import figure_backend
from sandbox_image.drawing_warnings import ProgramPlace
from sandbox_image.failures import as_text, without_runner
from sandbox_image.mime import Bundle, bounded, figure_png, is_figure
from sandbox_image.saved_figures import SavedFigures

Emit = Callable[[Bundle], None]


class Figures:
    """Stands behind ``plt.show()``, which closes what it has shown, and closes the block's figures."""

    def __init__(self, emit: Emit, place: ProgramPlace) -> None:
        self._emit = emit
        self._place = place
        self._shown: weakref.WeakSet[Any] = weakref.WeakSet()  # and not stale since
        self.saved = SavedFigures()

    def actions(self) -> dict[str, Callable[[ModuleType], None]]:
        """What is to be done when modules have been imported."""
        return {"matplotlib.backend_bases": self.saved.patch, **figure_backend.actions(self)}

    def show(self, figure: Any) -> None:
        """``fig.show()``: it stays open."""
        png = self.saved.png(figure) or figure_png(figure, self._place)
        self._emit(bounded({"image/png": png, "text/plain": repr(figure)}))
        self.mark_shown(figure)

    def mark_shown(self, value: object) -> None:
        """A value that was displayed by name; it may be a figure."""
        if is_figure(value):
            self._shown.add(value)
            value.stale = False  # type: ignore[attr-defined]

    def show_all(self, *, blank: bool = True) -> None:
        """Send what has not been sent and close everything; ``blank``: also figures in which there is nothing."""
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not (numbers := pyplot.get_fignums()):
            return
        try:
            for number in numbers:
                figure = pyplot.figure(number)
                seen = figure in self._shown and not figure.stale
                if not seen and (blank or not _is_blank(figure)):
                    self.show(figure)
        finally:
            self._shown.clear()
            pyplot.close("all")

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
