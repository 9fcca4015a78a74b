"""Program. Charts of bokeh: shown as a document by themselves, where a notebook's would need a server, and told
in words.

``install_notebook_hook`` is what bokeh offers to notebooks that are not Jupyter's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

#: Parts of a chart that are told one by one.
_FEW: Final = 12


def show_by(io: ModuleType, publish: Callable[[dict[str, Any]], None]) -> None:
    """``bokeh.io``: ``show()`` publishes, and looks for no browser. ``output_notebook()`` has nothing to load."""

    def load(*options: Any) -> None:
        pass

    def show_document(chart: Any, state: Any, with_handle: bool) -> None:
        publish(representations(chart))

    def show_application(*options: Any, **more: Any) -> None:
        raise RuntimeError("a bokeh application needs a server, which cannot be reached in a sandbox")

    io.install_notebook_hook("jupyter", load, show_document, show_application, overwrite=True)
    io.output_notebook()


def is_chart(value: object) -> bool:
    """Something that bokeh can lay out."""
    models = sys.modules.get("bokeh.models")
    return models is not None and isinstance(value, models.LayoutDOM)


def representations(chart: Any) -> dict[str, Any]:
    """``chart`` may be a list of charts."""
    from bokeh.embed import file_html  # type: ignore[import-not-found, unused-ignore]
    from bokeh.resources import CDN  # type: ignore[import-not-found, unused-ignore]

    charts = list(chart) if isinstance(chart, (list, tuple)) else [chart]
    plots = [plot for one in charts for plot in _plots(one)]
    told = [line for plot in plots[:_FEW] for line in _words(plot)] or ["[bokeh document]"]
    # In a document of its own, as in a notebook: a chart can be shown again, also as a part of another.
    html = file_html(charts if len(charts) > 1 else charts[0], CDN, "chart", _always_new=True)
    return {"text/html": html, "text/plain": "\n".join(told)}


def _plots(chart: Any) -> list[Any]:
    plot = sys.modules["bokeh.models"].Plot
    return [chart] if isinstance(chart, plot) else list(chart.select({"type": plot}))


def _words(plot: Any) -> Iterator[str]:
    title = getattr(plot.title, "text", "") or ""
    yield f"[bokeh chart{f' {title!r}' if title else ''}, shown where HTML can be]"
    for renderer in plot.renderers[:_FEW]:
        source = getattr(renderer, "data_source", None)
        kind = type(getattr(renderer, "glyph", renderer)).__name__
        rows = max((len(column) for column in source.data.values()), default=0) if source is not None else 0
        yield f"- {kind}{f' of {rows} rows' if rows else ''}"
    axes = [str(axis.axis_label) for axis in plot.axis if axis.axis_label]
    if axes:
        yield f"axes: {', '.join(axes)}"
