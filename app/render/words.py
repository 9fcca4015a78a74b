"""What was shown, in words: for a reader of text alone, such as the model.

A library's own text is taken where it says something. Of a chart its kind, axes and size are told, of Markdown and HTML
the text, of a table its head and shape. The content is the program's and may be anything.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any, Final

from app.render.charts import chart
from app.render.tables import markdown_table

#: Of one display.
MAX_CHARS: Final = 100_000
#: Of HTML that is looked at.
_MAX_HTML_CHARS: Final = 400_000
#: What Python says of an object whose class says nothing.
_NOTHING_SAID: Final = re.compile(r"\s*<([\w.]+)(?: object)?(?: at 0x[0-9a-fA-F]+)?>\s*")
#: Where it is in memory tells nobody anything.
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]{4,16}>")
_INVISIBLE: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head|template|title)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_BREAK: Final = re.compile(
    r"</?(?:p|div|br|hr|li|ul|ol|tr|table|h[1-6]|section|pre|blockquote)\b[^<>]*>", re.IGNORECASE
)
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")
_IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")


def words(data: Mapping[str, Any]) -> str:
    """Text that ends with a line end; empty if there is nothing to be told."""
    text = _words(data)
    if len(text) > MAX_CHARS:
        text = f"{text[:MAX_CHARS]}\n[... the first {MAX_CHARS} of {len(text)} characters are shown ...]"
    return f"{text}\n" if text else ""


def _words(data: Mapping[str, Any]) -> str:
    if told := chart(data):
        return told
    plain = data.get("text/plain")
    silent = _NOTHING_SAID.fullmatch(plain) if isinstance(plain, str) else None
    if isinstance(plain, str) and silent is None and plain.strip():
        return _ADDRESS.sub(">", plain.removesuffix("\n"))
    for mime, tell in _TELLERS.items():
        if isinstance(found := data.get(mime), str) and (told := tell(found).strip("\n")):
            return told
    if isinstance(found := data.get("application/json"), dict | list):
        return json.dumps(found, ensure_ascii=False)
    pictures = [f"[{mime}{_size(data[mime])}]" for mime in _IMAGES if mime in data]
    if pictures:
        return "\n".join(pictures)
    forms = ", ".join(mime for mime in data if mime != "text/plain")
    if not forms:
        return plain if isinstance(plain, str) else ""
    return f"[{silent[1] if silent else 'an object'} is shown, as {forms}]"


def text_of_html(html: str) -> str:
    """What a browser would show of it, line by line."""
    html = _INVISIBLE.sub(" ", html[:_MAX_HTML_CHARS])
    text = unescape(_TAG.sub("", _BREAK.sub("\n", html)))
    return "\n".join(_visible_lines(text))


def _visible_lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if shown := " ".join(line.split()):
            yield shown


def _html(html: str) -> str:
    table = markdown_table(html) if "<table" in html[:_MAX_HTML_CHARS].lower() else None
    return table if table is not None else text_of_html(html)


def _as_it_is(text: str) -> str:
    return text


_TELLERS: Final[Mapping[str, Callable[[str], str]]] = {
    "text/markdown": _as_it_is,
    "text/html": _html,
    "text/latex": _as_it_is,
}


def _size(data: object) -> str:
    """Of a PNG, as its head says."""
    if not isinstance(data, str) or not data.startswith("iVBORw0KGgo"):
        return ""
    try:
        head = base64.b64decode(data[:32])
    except ValueError:
        return ""
    return f", {int.from_bytes(head[16:20])}x{int.from_bytes(head[20:24])}"
