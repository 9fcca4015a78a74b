"""Charts that are described by JSON (plotly, Vega-Lite), told in a line each: kind, axes and size of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Parts of a chart that are told one by one.
_FEW: Final = 12
_MAX_NAME_CHARS: Final = 80
_PLOTLY: Final = "application/vnd.plotly.v1+json"
_VEGA_LITE: Final = "application/vnd.vegalite."
#: In which of its fields a trace has its data.
_PLOTLY_DATA: Final = ("x", "y", "z", "values", "r", "lat", "lon", "locations", "open", "ids")
_BYTES: Final = {"i1": 1, "u1": 1, "i2": 2, "u2": 2, "i4": 4, "u4": 4, "f4": 4, "f8": 8}


def chart(data: Mapping[str, Any]) -> str | None:
    """Of the first chart among these representations; None if there is none."""
    for mime, spec in data.items():
        if not isinstance(spec, dict):
            continue
        if mime == _PLOTLY:
            return "\n".join(_plotly(spec))
        if mime.startswith(_VEGA_LITE):
            return "\n".join(_vega_lite(spec))
    return None


def _plotly(figure: dict[str, Any]) -> Iterator[str]:
    layout = _mapping(figure.get("layout"))
    traces = [trace for trace in _list(figure.get("data")) if isinstance(trace, dict)]
    yield f"[plotly chart{_titled(_title(layout.get('title')))}, shown where plotly's JSON can be drawn]"
    for trace in traces[:_FEW]:
        mode = f" ({_name(trace['mode'])})" if isinstance(trace.get("mode"), str) else ""
        sizes = [f"{field}: {count} values" for field in _PLOTLY_DATA if (count := _length(trace.get(field)))]
        yield f"- {_name(trace.get('type')) or 'scatter'}{mode}{_titled(_name(trace.get('name')))}: {', '.join(sizes)}"
    if len(traces) > _FEW:
        yield f"- and {len(traces) - _FEW} more"
    axes = [
        f"{key.replace('axis', '')}: {title}"
        for key, axis in layout.items()
        if "axis" in key and (title := _title(_mapping(axis).get("title")))
    ]
    if axes:
        yield f"axes: {', '.join(axes[:_FEW])}"


def _vega_lite(spec: dict[str, Any]) -> Iterator[str]:
    datasets = _mapping(spec.get("datasets"))
    yield f"[Vega-Lite chart{_titled(_title(spec.get('title')))}]"
    views = list(_views(spec, spec.get("data"), 0))
    for view, source in views[:_FEW]:
        mark = view.get("mark")
        kind = _name(mark if isinstance(mark, str) else _mapping(mark).get("type"))
        channels = [
            f"{_name(channel)}: {told}"
            for channel, encoding in list(_mapping(view.get("encoding")).items())[:_FEW]
            if (told := _channel(_mapping(encoding)))
        ]
        rows = _rows(_mapping(source), datasets)
        size = f" of {rows} rows" if rows else ""
        yield f"- {kind or 'view'}{size}{': ' if channels else ''}{', '.join(channels)}"
    if len(views) > _FEW:
        yield f"- and {len(views) - _FEW} more"


def _views(spec: dict[str, Any], data: Any, depth: int) -> Iterator[tuple[dict[str, Any], Any]]:
    data = spec.get("data", data)
    if "mark" in spec:
        yield spec, data
    if depth > 8:
        return
    below = [part for key in ("layer", "hconcat", "vconcat", "concat") for part in _list(spec.get(key))]
    below.append(spec.get("spec"))
    for part in below:
        if isinstance(part, dict):
            inherited = {**_mapping(spec.get("encoding")), **_mapping(part.get("encoding"))}
            yield from _views({**part, "encoding": inherited}, data, depth + 1)


def _channel(encoding: dict[str, Any]) -> str:
    field, of = _name(encoding.get("field")), _name(encoding.get("aggregate"))
    told = f"{of}({field})" if of and field else of or field
    title = _name(encoding.get("title"))
    return f"{told} ({title})" if told and title and title != told else told


def _rows(source: dict[str, Any], datasets: dict[str, Any]) -> int:
    name = source.get("name")
    return len(_list(source.get("values"))) or len(_list(datasets.get(name) if isinstance(name, str) else None))


def _length(values: Any) -> int:
    """Of a list, or of an array in base64."""
    if isinstance(values, list):
        return len(values)
    array = _mapping(values)
    if isinstance(text := array.get("bdata"), str) and isinstance(kind := array.get("dtype"), str):
        return (len(text) * 3 // 4 - text[-2:].count("=")) // _BYTES.get(kind, 8)
    return 0


def _title(title: Any) -> str:
    return _name(_mapping(title).get("text") if isinstance(title, dict) else title)


def _titled(title: str) -> str:
    return f" '{title}'" if title else ""


def _name(value: Any) -> str:
    return " ".join(value[: 4 * _MAX_NAME_CHARS].split())[:_MAX_NAME_CHARS] if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
