"""How often a caller may ask, and how many requests run at once. Too much of either is a 429 with ``Retry-After``."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from app.api.edge.auth import AuthenticatedCaller, Caller
from app.errors import RequestError

#: OpenAI's SDKs ignore a wait longer than this and fall back to their own, shorter one (PROTOCOL.md 5).
LONGEST_WAIT_S = 60


class TooManyRequests(RequestError):
    """Nothing was started; it may be tried again after ``retry_after_s``."""

    status = 429
    type = "requests"
    code: str | None = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.headers = {"retry-after": str(min(max(math.ceil(retry_after_s), 1), LONGEST_WAIT_S))}


class RateLimiter:
    """Requests per minute of each caller, in a moving window: any 60 s, not each minute of the clock.

    Several gateways can share a count by sharing the storage.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._window = MovingWindowRateLimiter(storage or MemoryStorage())

    async def hit(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            TooManyRequests: it is one too many, and was not counted.
        """
        if caller.requests_per_minute is None:
            return
        rate = RateLimitItemPerMinute(caller.requests_per_minute)
        if not await self._window.hit(rate, caller.name):
            oldest_leaves_at, _ = await self._window.get_window_stats(rate, caller.name)
            raise TooManyRequests(
                f"Rate limit reached: {caller.requests_per_minute} requests per minute.",
                retry_after_s=oldest_leaves_at - time.time(),
            )


@dataclass(frozen=True, slots=True)
class SlotStatistics:
    limit: int
    used: int
    waiting: int


class Slots:
    """A bounded number of requests at once; the rest wait in line, first come first served, up to a deadline.

    State changes in plain functions only: a slot that comes free is promised to the first in line at once, so nobody
    overtakes between the promise and the waiter's waking up.
    """

    def __init__(self, limit: int, *, queue_limit: int, wait_s: float) -> None:
        self._limit = limit
        self._queue_limit = queue_limit
        self._wait_s = wait_s
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def statistics(self) -> SlotStatistics:
        return SlotStatistics(self._limit, self._used, len(self._waiting))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            TooManyRequests: none came free in time, or the line is full.
        """
        waiter = self._take_or_queue()
        if waiter is not None:
            await self._wait_for_slot(waiter)
        try:
            yield
        finally:
            self._release()

    def _take_or_queue(self) -> asyncio.Future[None] | None:
        """None if a slot was free (and is taken now), else what to wait for in line."""
        if self._used < self._limit:
            self._used += 1
            return None
        if len(self._waiting) >= self._queue_limit:
            raise TooManyRequests("Too many requests at once, and too many waiting.", retry_after_s=self._wait_s)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    async def _wait_for_slot(self, waiter: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():
                self._release()  # it was promised a slot in the moment it gave up
            if isinstance(error, TimeoutError):
                raise TooManyRequests("Too many requests at once.", retry_after_s=1) from None
            raise

    def _release(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else the request was cancelled and has not woken up to leave the line
                waiter.set_result(None)
                return
        self._used -= 1


class Admission:
    """Lets requests in: the caller's rate, then the caller's own slots, then everybody's."""

    def __init__(self, *, limit: int, queue_limit: int, wait_s: float, rates: RateLimiter | None = None) -> None:
        self._rates = rates or RateLimiter()
        self._everybody = Slots(limit, queue_limit=queue_limit, wait_s=wait_s)
        self._own: dict[str, Slots] = {}
        self._new_slots: Callable[[int], Slots] = lambda own: Slots(own, queue_limit=queue_limit, wait_s=wait_s)

    def statistics(self) -> SlotStatistics:
        """Of everybody's slots."""
        return self._everybody.statistics()

    @asynccontextmanager
    async def admit(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a slot for the length of one request.

        Raises:
            TooManyRequests: there is none.
        """
        await self._rates.hit(caller)
        if caller.concurrency is None:
            async with self._everybody.slot():
                yield
            return
        own = self._own.setdefault(caller.name, self._new_slots(caller.concurrency))
        async with own.slot(), self._everybody.slot():
            yield

    async def admitted(self, caller: AuthenticatedCaller) -> AsyncIterator[None]:
        """FastAPI dependency: holds a slot until the answer has been sent, streams included."""
        async with self.admit(caller):
            yield
