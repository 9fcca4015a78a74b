"""Joins characters that an upstream cut in the middle: ``\\ud83d`` in one delta, ``\\ude00`` in the next."""

from __future__ import annotations

import re
from typing import Any

_HALF = re.compile("[\ud800-\udfff]")


class HalfCharacters:
    """Fed the text of one channel. A high surrogate waits for its other half; a half that has none becomes U+FFFD."""

    def __init__(self) -> None:
        self._high = ""

    def __repr__(self) -> str:
        return f"<HalfCharacters high={self._high!r}>"

    def feed(self, text: str) -> str:
        if not self._high and (text.isascii() or _HALF.search(text) is None):
            return text
        text = self._high + text
        self._high = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        return whole(text[:-1] if self._high else text)

    def flush(self) -> str:
        text, self._high = self._high, ""
        return whole(text)


def joined(value: Any) -> Any:
    """A JSON value in whose texts no half characters are left."""
    if isinstance(value, str):
        return value if value.isascii() else whole(value)
    if isinstance(value, dict):
        return {joined(name): joined(item) for name, item in value.items()}
    return [joined(item) for item in value] if isinstance(value, list) else value


def whole(text: str) -> str:
    """Halves that belong together joined, the others replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
