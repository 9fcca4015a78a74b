"""JSON objects that an upstream sends again: as they were, or written anew with other spaces and escapes."""

from __future__ import annotations

import re

from app.errors import UpstreamBroken
from app.extraction.json_string import JsonString
from app.extraction.object_extent import ObjectExtent

#: How often one object may come again: with every delta of an answer of its size.
MAX_REPETITIONS = 5_000

_VISIBLE = re.compile(r"\S")
_WHITE = re.compile(r"\s+")
#: Stands for a quote: no decoded text has half a character.
_QUOTE = "\udfff"


class _Plain:
    """A piece of JSON without its spaces and escapes: equal for two that differ in nothing else."""

    def __init__(self) -> None:
        self._string: JsonString | None = None

    def feed(self, text: str, start: int, end: int) -> str:
        plain: list[str] = []
        while start < end:
            if self._string is not None:
                decoded, start = self._string.feed(text, start)
                plain.append(decoded)
                if self._string.closed:
                    self._string = None
                    plain.append(_QUOTE)
                continue
            quote = text.find('"', start, end)
            plain.append(_WHITE.sub("", text[start : quote if quote >= 0 else end]))
            if quote < 0:
                break
            self._string = JsonString()
            plain.append(_QUOTE)
            start = quote + 1
        return "".join(plain)


class Repetition:
    """Fed what follows the complete object ``whole``; ``feed`` returns what is surely no repetition of it. ``held`` is
    what may be the beginning of one."""

    def __init__(self, whole: str) -> None:
        self._whole = whole.strip()
        self._expected = _Plain().feed(self._whole, 0, len(self._whole))
        self._times = 0
        self._held: list[str] = []
        self._begin()

    def __repr__(self) -> str:
        return f"<Repetition times={self._times} held={len(self._held)}>"

    @property
    def held(self) -> str:
        return "".join(self._held)

    def feed(self, text: str) -> str:
        position = 0
        while position < len(text):
            if not self._matched:
                position = self._skip_copies(text, position)
                first = _VISIBLE.search(text, position)
                if first is None:
                    break
                if first[0] != "{":
                    return self._release(text[position:])
            end = self._extent.feed(text, position)
            stop = len(text) if end < 0 else end
            plain = self._plain.feed(text, position, stop)
            if not self._expected.startswith(plain, self._matched):
                return self._release(text[position:])
            self._matched += len(plain)
            if end < 0:
                break
            self._count()
            self._held.clear()
            self._begin()
            position = end
        if position < len(text):
            self._held.append(text[position:])
        return ""

    def _begin(self) -> None:
        self._matched = 0
        self._extent = ObjectExtent()
        self._plain = _Plain()

    def _skip_copies(self, text: str, position: int) -> int:
        """Behind all exact copies; white space before what follows them is left."""
        while True:
            first = _VISIBLE.search(text, position)
            if first is None or not text.startswith(self._whole, first.start()):
                return position
            self._count()
            self._held.clear()
            position = first.start() + len(self._whole)

    def _count(self) -> None:
        self._times += 1
        if self._times > MAX_REPETITIONS:
            raise UpstreamBroken("the upstream repeats one call without end")

    def _release(self, text: str) -> str:
        released = self.held + text
        self._held.clear()
        self._begin()
        return released
