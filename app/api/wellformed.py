"""JSON of a client's as every part of us, and every upstream, can encode it again."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
            if type(container) is dict:
                if not all(map(str.isascii, container)):
                    _mend_keys(container)
                _mend(container, container.items(), below)
            elif type(container) is list:
                _mend(container, enumerate(container), below)
        if not below:
            return document
        level = below
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _mend(container: Any, items: Iterable[tuple[Any, Any]], below: list[Any]) -> None:
    """Mends the texts of one container; adds the containers in it to ``below``. What a decoder of JSON makes has the
    very types that are named here."""
    mended = []
    for key, value in items:
        kind = type(value)
        if kind is str:
            if not value.isascii() and (text := whole(value)) != value:
                mended.append((key, text))
        elif kind is dict or kind is list:
            below.append(value)
        elif kind is float and not math.isfinite(value):
            raise ValueError("NaN and Infinity are no JSON")
    for key, text in mended:
        container[key] = text


def _mend_keys(container: dict[str, Any]) -> None:
    for key in [key for key in container if not key.isascii()]:
        if (mended := whole(key)) != key:
            container[mended] = container.pop(key)
