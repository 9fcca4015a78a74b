"""How often a caller may ask, and how many requests run at once. Too much of either is a 429 with ``Retry-After``.

All that a caller does is a request: a WebSocket and an upload are each one, for as long as they last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.edge.auth import Caller
from app.api.edge.errors import error_response
from app.api.edge.meter import Meter
from app.errors import TooManyRequests
from app.shares import Fraction, Shares, WaitingLine, undivided


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
    """A bounded number of requests at once, shared by keys (``app/shares.py``); the rest wait, up to a deadline.

    State changes in plain functions only: a slot that comes free is promised to the next in line at once, so nobody
    overtakes between the promise and the waiter's waking up.
    """

    def __init__(self, limit: int, *, queue_limit: int, wait_s: float, fraction: Fraction = undivided) -> None:
        self._shares = Shares(limit, fraction=fraction)
        self._places_in_line = Shares(queue_limit, fraction=fraction)
        self._wait_s = wait_s
        self._line: WaitingLine[None] = WaitingLine()

    def statistics(self) -> SlotStatistics:
        return SlotStatistics(self._shares.limit, self._shares.total, len(self._line))

    @asynccontextmanager
    async def slot(self, key: str = "") -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            TooManyRequests: none came free in time, or the line is full.
        """
        waiter = self._take_or_queue(key)
        if waiter is not None:
            await self._wait_for_slot(key, waiter)
        try:
            yield
        finally:
            self._release(key)

    def _take_or_queue(self, key: str) -> asyncio.Future[None] | None:
        """None if a slot was free (and is taken now), else what to wait for in line."""
        if self._shares.may_take(key):  # those in line may not: else they would have it
            self._shares.take(key)
            return None
        if not self._places_in_line.may_take(key, total=len(self._line), used=self._line.length(key)):
            raise TooManyRequests("Too many requests at once, and too many waiting.", retry_after_s=self._wait_s)
        return self._line.join(key)

    async def _wait_for_slot(self, key: str, waiter: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter
        except BaseException as error:
            if not self._line.leave(key, waiter) and not waiter.cancelled():
                self._release(key)  # it was promised a slot in the moment it gave up
            if isinstance(error, TimeoutError):
                raise TooManyRequests("Too many requests at once.", retry_after_s=1) from None
            raise

    def _release(self, key: str) -> None:
        self._shares.give_back(key)
        while (following := self._shares.next(self._line.keys())) is not None:
            if (waiter := self._line.pop(following)) is not None:
                self._shares.take(following)
                waiter.set_result(None)


class Admission:
    """Lets requests in: the caller's rates, then the caller's own slots, then those that all share."""

    def __init__(
        self,
        *,
        limit: int,
        queue_limit: int,
        wait_s: float,
        fraction: Fraction = undivided,
        rates: RateLimiter | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._rates = rates or RateLimiter()
        self._meter = meter or Meter()
        self._everybody = Slots(limit, queue_limit=queue_limit, wait_s=wait_s, fraction=fraction)
        self._own: dict[tuple[str, int], Slots] = {}
        self._new_slots: Callable[[int], Slots] = lambda own: Slots(own, queue_limit=queue_limit, wait_s=wait_s)

    def statistics(self) -> SlotStatistics:
        """Of everybody's slots."""
        return self._everybody.statistics()

    @asynccontextmanager
    async def admit(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a slot for the length of one request, and charge the caller with what the request has used.

        Raises:
            TooManyRequests: there is none, or the caller has used up what it may.
        """
        await self._rates.hit(caller)
        await self._meter.require(caller)
        async with AsyncExitStack() as held:
            if caller.concurrency is not None:
                own = self._own.setdefault((caller.name, caller.concurrency), self._new_slots(caller.concurrency))
                await held.enter_async_context(own.slot())
            await held.enter_async_context(self._everybody.slot(caller.name))
            async with self._meter.charging(caller):
                yield


class AdmissionMiddleware:
    """Requests of callers that are known wait here before a byte of their body is read, so that slow bodies count as
    what runs does. A slot is held until the answer has been sent, streams included, or the WebSocket is closed."""

    def __init__(self, app: ASGIApp, *, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller")
        if caller is None:
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._admission.admit(caller))
            except TooManyRequests as error:
                await error_response(error)(scope, receive, send)
                return
            await self._app(scope, receive, send)
