"""How many values a JSON text holds, counted before it is decoded.

A decoder makes an object of each value, in one step that nothing can interrupt: 27 MB of ``[],[],...`` hold the event
loop for seconds, 27 MB of text for a few milliseconds. So it is values that are limited, besides bytes. Values are
counted in slices, between which the loop is free; a text with few brackets and commas is not even read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Final

#: Of one text; no step over so many takes 20 ms (CPU of 2.1 GHz).
MAX_VALUES: Final = 80_000
#: Bytes between two looks at the loop: at most some 3 ms.
SLICE: Final = 16 * 1024

_REST_OF_STRING = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)
_MARKS: Final = (b"[", b"{", b",")


class TooManyValues(ValueError):
    """The text holds more than ``MAX_VALUES``."""

    def __init__(self) -> None:
        super().__init__(f"it holds more than {MAX_VALUES} values")


def marks(data: bytes) -> int:
    """Brackets and commas, also those inside strings: each value but the first has one before it, an empty container
    one more."""
    return sum(map(data.count, _MARKS))


class ValueCounter:
    """Counts the values of a JSON text that comes in pieces cut anywhere; its own state is a few integers."""

    def __init__(self) -> None:
        self.values = 1
        self._in_string = self._escaped = False

    def __repr__(self) -> str:
        return f"<ValueCounter {self.values}>"

    def feed(self, piece: bytes) -> None:
        at = 0
        if self._escaped and piece:
            self._escaped, at = False, 1
        while at < len(piece):
            if self._in_string:
                match = _REST_OF_STRING.match(piece, at)
                assert match is not None  # it may be empty
                at = match.end()
                if at == len(piece):
                    return
                self._escaped = piece[at] == ord("\\")  # the last character of the piece
                self._in_string = self._escaped
                at += 1
            else:
                quote = piece.find(b'"', at)
                end = len(piece) if quote < 0 else quote
                self.values += marks(piece[at:end])
                self._in_string = quote >= 0
                at = end + 1


async def check_values(pieces: Iterable[bytes]) -> None:
    """
    Raises:
        TooManyValues: together they hold more than ``MAX_VALUES``.
    """
    counter = ValueCounter()
    for piece in pieces:
        for start in range(0, len(piece), SLICE):
            counter.feed(piece[start : start + SLICE])
            if counter.values > MAX_VALUES:
                raise TooManyValues
            await asyncio.sleep(0)


async def check_text(text: str | bytes) -> None:
    """The same of a text that is there as a whole.

    Raises:
        TooManyValues: it holds more than ``MAX_VALUES``.
    """
    if len(text) <= MAX_VALUES:
        return
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if marks(data) >= MAX_VALUES:
        await check_values([data])
