"""Gives the events of one request their one order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.events import Event

#: Takes a stamped event to the client. Awaiting it is the back-pressure: a slow client slows generation and execution.
SendEvent = Callable[[Event], Awaitable[None]]


class Emitter:
    """Stamps ``seq`` and ``t_ms``. Generation and execution emit side by side; the lock keeps the order of stamps the
    order of sends (it is held while the client is slow, which is what is wanted)."""

    def __init__(self, send: SendEvent) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        #: Events emitted so far.
        self.count = 0
        self.started_at = time.perf_counter()

    def now_s(self) -> float:
        """Seconds since the request was accepted."""
        return time.perf_counter() - self.started_at

    async def emit(self, event: Event) -> None:
        async with self._lock:
            event.seq = self.count
            event.t_ms = round(self.now_s() * 1e3, 3)
            self.count += 1
            await self._send(event)
