"""Starts of sandboxes, one after the other when the machine is short of CPU.

Each costs some seconds of CPU. Several side by side on a busy machine all take as long as all of them together, and
nobody has one until then.
"""

from __future__ import annotations

import os
from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Starts:
    """
    Args:
        is_short: whether only one is to go on. Asked when one wants to begin, and when one has ended.
    """

    def __init__(self, *, is_short: Callable[[], bool] = lambda: False) -> None:
        self._is_short = is_short
        self._waiting: deque[Future[None]] = deque()
        self._began: dict[Future[None], float] = {}  # what goes on, and since when

    def __repr__(self) -> str:
        return f"<Starts {len(self._began)}, {len(self._waiting)} waiting>"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, in the order of coming; the start lasts as long as the context."""
        waiter: Future[None] = get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            self._admit()
            await waiter
            yield
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            self._began.pop(waiter, None)
            self._admit()

    def describe(self) -> str:
        """How it goes, in words."""
        now = get_running_loop().time()
        longest = max((now - began for began in self._began.values()), default=0.0)
        return f"for {longest:.0f} s; {len(self._waiting)} more wait for their turn; {load_in_words()}"

    def _admit(self) -> None:
        while self._waiting and (not self._began or not self._is_short()):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._began[waiter] = get_running_loop().time()
                waiter.set_result(None)


def machine_is_short() -> bool:
    """Whether more wants to run on this machine than it has processors for, in the last minute."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def load_in_words() -> str:
    return f"this machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count() or 1} processors"
