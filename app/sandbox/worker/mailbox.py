"""A queue between the frame callback, which must not wait, and the one coroutine that hands things on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: What an item costs beside its content: a flood of single bytes must not count as little.
ITEM_BYTES: Final = 256


class Mailbox(Generic[T]):
    """Items with their weight in bytes; the writer looks at ``weight`` and slows its source down. One reader."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self.weight = 0

    def __repr__(self) -> str:
        return f"<Mailbox {len(self._items)} items, {self.weight} bytes>"

    def put_nowait(self, item: T, weight: int = 0) -> None:
        self._items.append((item, weight + ITEM_BYTES))
        self.weight += weight + ITEM_BYTES
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> T:
        while not self._items:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        item, weight = self._items.popleft()
        self.weight -= weight
        return item
