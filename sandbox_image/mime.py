"""Program. A value as a MIME bundle: all the ways in which it can show itself, bounded."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import sys
from typing import Any, Final

from sandbox_image import bokeh_charts
from sandbox_image.drawing_warnings import ProgramPlace, told_at
from sandbox_image.failures import as_text, clean, headline, without_runner

#: A whole bundle. The frame that carries it may be six times as long (JSON escapes).
MAX_BUNDLE = 8 * 1024 * 1024

#: A tenth of the time that a figure takes, for files that are a sixth larger.
_QUICK: Final = {"pil_kwargs": {"compress_level": 1}}
_AGG: Final = "matplotlib.backends.backend_agg"
_METHODS: Final = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
    "application/pdf": "_repr_pdf_",
}

Bundle = dict[str, Any]


def bundle(value: object, place: ProgramPlace) -> tuple[Bundle, Bundle]:
    """Data and metadata; empty if the value has displayed itself. Never raises an Exception. ``place`` is where the
    program is.

    IPython's formatters are used if IPython is loaded: importing it would cost more than most programs run.
    """
    formatters = sys.modules.get("IPython.core.formatters")
    try:
        data, metadata = _format(formatters, value) if formatters and _is_plain(value) else _represent(value)
        if not data:
            return {}, {}
        if is_figure(value):
            data["image/png"] = figure_png(value, place)
        elif bokeh_charts.is_chart(value):
            data = bokeh_charts.representations(value)
        elif any(mime.startswith("application/vnd.vegalite.") for mime in data):
            _draw_vega_lite(data)
    except Exception as error:
        error.__traceback__ = without_runner(error.__traceback__)
        data, metadata = {"text/plain": as_text(error)}, {}
    if "image/png" in data:
        data.pop("image/jpeg", None)  # one picture of one image
    if "text/plain" not in data:
        data["text/plain"] = _text(value)
    return bounded(data), jsonable(metadata)


def bounded(data: Bundle) -> Bundle:
    """Fit for the wire: binary data as base64, JSON that is JSON, and what is too large replaced by a note."""
    data = {str(mime): jsonable(part) for mime, part in data.items() if part is not None}
    sizes = {mime: len(part) if isinstance(part, str) else len(json.dumps(part)) for mime, part in data.items()}
    notes = []
    while sum(sizes.values()) > MAX_BUNDLE:
        largest = max(sizes, key=sizes.__getitem__)
        notes.append(f"[{largest} of {sizes.pop(largest) / 1024 / 1024:.1f} MiB left out: too large]")
        del data[largest]
    if notes:
        data["text/plain"] = "\n".join([data["text/plain"], *notes] if "text/plain" in data else notes)
    return data


def figure_png(figure: Any, place: ProgramPlace) -> bytes:
    """As it is now. Warnings of drawing it are said to be of ``place``."""
    import io

    buffer = io.BytesIO()
    writer = getattr(figure.canvas, "print_png", None)  # without one, savefig takes Agg's
    options = _QUICK if getattr(writer, "__module__", _AGG) == _AGG else {}
    with told_at(place):
        figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def _draw_vega_lite(data: Bundle) -> None:
    """A picture for those who cannot draw it, where the library that makes one without a browser is installed; and text
    without advice on how to enable a renderer."""
    import importlib
    import importlib.util

    mime = next(mime for mime in data if mime.startswith("application/vnd.vegalite."))
    if isinstance(plain := data.get("text/plain"), str):
        data["text/plain"] = plain.partition("\n")[0]
    if importlib.util.find_spec("vl_convert") is not None:
        with contextlib.suppress(Exception):  # a chart that is none: whoever can draw it says so
            data["image/png"] = importlib.import_module("vl_convert").vegalite_to_png(data[mime])


_ipython_formatter: Any = None


def _format(formatters: Any, value: object) -> tuple[Bundle, Bundle]:
    """All that IPython's formatters say of it. Asked one by one: as a whole they print a traceback with frames of their
    own where a representation fails. Here one that fails is one that does not exist."""
    global _ipython_formatter
    if _ipython_formatter is None:
        _ipython_formatter = formatters.DisplayFormatter()
    if _ask(_ipython_formatter.ipython_display_formatter, value):
        return {}, {}
    found = _ask(_ipython_formatter.mimebundle_formatter, value)
    parts, notes = found if isinstance(found, tuple) else (found, None)
    data, metadata = dict(parts or {}), dict(notes or {})
    for mime, formatter in _ipython_formatter.formatters.items():
        if mime not in data or _is_registered(formatter, value):
            _merge(mime, _ask(formatter, value), data, metadata)
    data.setdefault("text/plain", _text(value))
    return data, metadata


def _ask(formatter: Any, value: object) -> Any:
    method = type(formatter).__call__
    return _call(getattr(method, "__wrapped__", method), formatter, value)


def _is_registered(formatter: Any, value: object) -> bool:
    """By the program, for this class."""
    try:
        formatter.lookup(value)
    except KeyError:
        return False
    return True


def _represent(value: object) -> tuple[Bundle, Bundle]:
    """What IPython does, for classes that describe themselves. Looked up on the type: instances of Mock have it all."""
    kind = type(value)
    if _is_plain(value) and (display := getattr(kind, "_ipython_display_", None)) is not None:
        display(value)
        return {}, {}
    data: Bundle = {"text/plain": _text(value)}
    metadata: Bundle = {}
    for mime, name in _METHODS.items():
        method = getattr(kind, name, None)
        if method is None or (mime == "image/jpeg" and "image/png" in data):
            continue
        _merge(mime, _call(method, value), data, metadata)
    if (method := getattr(kind, "_repr_mimebundle_", None)) is not None:
        found = _call(method, value, include=None, exclude=None)
        parts, notes = found if isinstance(found, tuple) else (found, None)
        data.update(parts or {})
        metadata.update(notes or {})
    return data, metadata


def _is_plain(value: object) -> bool:
    """A bundle of its own comes before a display of its own: it can be a result."""
    return not hasattr(type(value), "_repr_mimebundle_")


def _merge(mime: str, part: Any, data: Bundle, metadata: Bundle) -> None:
    if isinstance(part, tuple) and len(part) == 2:
        part, metadata[mime] = part
    if part is not None:
        data[mime] = part


def _call(method: Any, *values: object, **options: Any) -> Any:
    """A representation that fails is one that does not exist; the text remains."""
    try:
        return method(*values, **options)
    except (Exception, SystemExit):
        return None


def _text(value: object) -> str:
    try:
        return clean(repr(value), MAX_BUNDLE)
    except (Exception, SystemExit) as error:
        return clean(f"<{_type_name(value)} object, whose repr() fails with {headline(error)}>")


def _type_name(value: object) -> str:
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def is_figure(value: object) -> bool:
    figures = sys.modules.get("matplotlib.figure")
    return figures is not None and isinstance(value, figures.Figure)


def jsonable(part: Any) -> Any:
    """Strict JSON: no NaN, no lone surrogates, no objects; recursion is bounded by the caller's RecursionError."""
    if isinstance(part, (bytes, bytearray, memoryview)):
        return base64.b64encode(part).decode()
    if isinstance(part, str):
        return part.encode("utf-8", "backslashreplace").decode()
    if part is None or isinstance(part, (bool, int)):
        return part
    if isinstance(part, float):
        return part if math.isfinite(part) else None
    if isinstance(part, dict):
        return {clean(str(key)): jsonable(item) for key, item in part.items()}
    if isinstance(part, (list, tuple)):
        return [jsonable(item) for item in part]
    return clean(str(part))
