"""Program. matplotlib's backend in a session: Agg, with managers that show figures to whoever reads the session.

A backend of one's own is what matplotlib promises to take (``module://...``), with a canvas that names the class of its
managers, and managers that say what ``plt.show()`` does. It is chosen in this process alone: MPLBACKEND says Agg, for
processes that the program starts have no session to show figures in. A program that chooses Agg itself, as many do out
of habit, is shown its figures all the same.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

#: Set when Agg is imported.
FigureCanvas: Any = None


class Shows(Protocol):
    def show(self, figure: Any) -> None:
        """One figure, which stays open."""
        ...

    def show_all(self) -> None:
        """What is open; it is closed."""
        ...


def actions(shows: Shows) -> dict[str, Callable[[ModuleType], None]]:
    """What is to be done when modules have been imported."""
    return {
        "matplotlib": _choose,
        "matplotlib.backends.backend_agg": lambda agg: _define(agg, shows),
        # which looks for the canvas at the first figure
        "matplotlib.pyplot": lambda pyplot: _import_agg(),
        "IPython.core.pylabtools": _keep_table_of_windows,
    }


def _choose(matplotlib: ModuleType) -> None:
    if os.environ.get("MPLBACKEND", "agg").lower() == "agg":
        matplotlib.rcParams["backend"] = f"module://{__name__}"


def _import_agg() -> None:
    importlib.import_module("matplotlib.backends.backend_agg")


def _keep_table_of_windows(pylabtools: ModuleType) -> None:
    """matplotlib 3.8 and 3.9 import it where a shell of IPython exists, and IPython 9 has it no more."""
    if not hasattr(pylabtools, "backend2gui"):
        pylabtools.backend2gui = {}  # type: ignore[attr-defined]


def _define(agg: ModuleType, shows: Shows) -> None:
    global FigureCanvas
    bases = importlib.import_module("matplotlib.backend_bases")

    class FigureManager(bases.FigureManagerBase):  # type: ignore[name-defined, misc]
        @classmethod
        def pyplot_show(cls, *, block: bool | None = None) -> None:
            shows.show_all()

        def show(self) -> None:
            shows.show(self.canvas.figure)

    FigureCanvas = type(
        "FigureCanvas", (agg.FigureCanvasAgg,), {"__module__": __name__, "manager_class": FigureManager}
    )
    agg.FigureCanvasAgg.manager_class = FigureManager
