"""Both. What takes long only the first time, done in the zygote: fonts, parsers of text, codecs, tables of their own. A
program cannot tell it from a library that was just imported."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Callable

from sandbox_image import fonts

_TABLE = "name,day,x\na,2024-01-01,1.5\nb,2024-01-02,\na,2024-01-03,3\n"


def warm_up() -> list[str]:
    """Use the libraries that have been imported; returns a note for each that failed at it."""
    notes = []
    for library, use in {"pandas": _use_pandas, "matplotlib.figure": _use_matplotlib}.items():
        if library in sys.modules:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    use()
            except Exception as error:
                notes.append(f"{library} is not warmed up: {type(error).__name__}: {error}")
    return notes


def again() -> list[Callable[[], object]]:
    """Quick functions that do what a program is likely to do with what was warmed up, the likeliest first."""
    uses: list[Callable[[], object]] = []
    if "pandas" in sys.modules:
        uses.append(_describe)
    if "matplotlib.figure" in sys.modules:
        uses.append(_plot)
    if "pandas" in sys.modules:
        uses.append(_use_pandas)
    return uses


def _describe() -> None:
    table = sys.modules["pandas"].DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, None], "name": ["a", "b", "c"]})
    table.describe().to_string()


def _plot() -> None:
    figure = sys.modules["matplotlib.figure"].Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], label="line")
    axes.bar([1, 2], [1, 2])
    axes.set(title="title", xlabel="x")
    axes.legend()
    axes.grid(True)
    figure.draw_without_rendering()


def _use_matplotlib() -> None:
    """Not by pyplot, which has a state."""
    fonts.add(importlib.import_module("matplotlib.font_manager"))
    figure = importlib.import_module("matplotlib.figure").Figure()
    left, right = figure.subplots(1, 2)
    left.plot([1, 10], [1, 10], label="line")
    left.set(title="title", xlabel="x", ylabel="y", yscale="log")  # powers of ten are mathematical text
    left.legend()
    left.grid(True)
    right.bar(["a", "b"], [1, 2])
    figure.colorbar(right.scatter([0, 1], [0, 1], c=[0, 1]))
    figure.tight_layout()
    figure.savefig(io.BytesIO(), format="png")
    _close_fonts()


def _close_fonts() -> None:
    """Their files stay open in caches, and would be descriptors of every program. Opening them is quick."""
    manager, mathtext = map(importlib.import_module, ("matplotlib.font_manager", "matplotlib.mathtext"))
    for cache in (getattr(manager, "_get_font", None), getattr(mathtext.MathTextParser, "_parse_cached", None)):
        if cache is not None:
            cache.cache_clear()


def _use_pandas() -> None:
    table = importlib.import_module("pandas").read_csv(io.StringIO(_TABLE), parse_dates=["day"])
    table.describe().to_string()
    table.groupby("name")["x"].agg(["mean", "count"]).sort_values("mean").to_string()
    table.isna().sum().to_string()
    table[table["x"] > 1].merge(table, on="name").head().to_html()
