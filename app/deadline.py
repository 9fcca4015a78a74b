"""The time limit of what runs again and again, without a new timer for every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls ``expire`` when a limit is over that was not lifted before.

    Nearly every limit is lifted long before it is over. A timer of asyncio's costs a handle, an entry in the heap of
    its loop, and the removal of both. That is 3 of the 40 us that an execution costs the gateway, and more than a read
    of an upstream's token. So one timer stays as it is. When it fires, it looks at the limit that holds by then.
    """

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Deadline {self._at}, timer {self._timer}>"

    def set(self, delay_s: float) -> None:
        """In the place of the limit before."""
        loop = asyncio.get_running_loop()
        self._at = at = loop.time() + delay_s
        if self._timer is not None and self._timer.when() > at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(at, self._look)

    def lift(self) -> None:
        self._at = None

    def close(self) -> None:
        """Lift it, and leave no timer behind."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._at:
            self._timer = loop.call_at(self._at, self._look)
        else:
            self._at = None
            self._expire()
