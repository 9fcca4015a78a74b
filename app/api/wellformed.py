"""JSON of a client's as every part of us, and every upstream, can encode it again."""

from __future__ import annotations

import math
from typing import Any

from app.extraction.half_characters import whole

#: Encoders of JSON recurse.
MAX_DEPTH = 128


def well_formed(document: Any) -> Any:
    """Replaces halves of surrogate pairs by U+FFFD, in place: JavaScript cuts strings between them, JSON can spell them
    (``"\\ud83d"``), UTF-8 cannot.

    Raises:
        ValueError: it is nested too deeply, or holds NaN or Infinity, which Python reads and JSON does not have.
    """
    level = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                _mend_keys(container)
                below += _mend(container, container.items())
            elif isinstance(container, list):
                below += _mend(container, enumerate(container))
        if not below:
            return document
        level = below
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _mend(container: Any, items: Any) -> list[Any]:
    """Mends the texts of one container; returns the containers in it."""
    below = []
    for key, value in list(items):
        if isinstance(value, str):
            if not value.isascii() and (mended := whole(value)) != value:
                container[key] = mended
        elif isinstance(value, dict | list):
            below.append(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("NaN and Infinity are no JSON")
    return below


def _mend_keys(container: dict[str, Any]) -> None:
    for key in [key for key in container if isinstance(key, str) and not key.isascii()]:
        if (mended := whole(key)) != key:
            container[mended] = container.pop(key)
