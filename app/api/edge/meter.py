"""Tokens and CPU time of each caller in a minute, which begins with the first use. What a request uses is known when it
has ended: one may take a caller beyond its limit, and the next is refused until the minute is over.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from app.api.edge.auth import Caller
from app.api.edge.request_id import current_request
from app.errors import TooManyRequests
from app.usage import OnExecution, Used, begin_counting, forget

_TOKENS, _CPU = "tokens", "cpu"


class Meter:
    """Several gateways can share a count by sharing the storage. Executions are told to ``on_execution``."""

    def __init__(self, storage: Storage | None = None, *, on_execution: OnExecution = forget) -> None:
        self._on_execution = on_execution
        self._window = FixedWindowRateLimiter(storage or MemoryStorage())

    async def require(self, caller: Caller) -> None:
        """
        Raises:
            TooManyRequests: the caller has used up what it may in this minute.
        """
        for kind, limit, words in _limits(caller):
            if not await self._window.test(limit, kind, caller.name):
                over_at = (await self._window.get_window_stats(limit, kind, caller.name)).reset_time
                raise TooManyRequests(f"Rate limit reached: {words} per minute.", retry_after_s=over_at - time.time())

    @asynccontextmanager
    async def charging(self, caller: Caller) -> AsyncIterator[None]:
        """What is used within is the caller's."""
        used = Used(
            key=caller.name,
            request=current_request.get(),
            meters_cpu=caller.cpu_seconds_per_minute is not None,
            on_execution=self._on_execution,
        )
        begin_counting(used)
        try:
            yield
        finally:
            costs = {_TOKENS: used.tokens, _CPU: round(used.cpu_s * 1e3)}
            for kind, limit, _ in _limits(caller):
                if costs[kind]:
                    await self._window.hit(limit, kind, caller.name, cost=costs[kind])


def _limits(caller: Caller) -> list[tuple[str, RateLimitItem, str]]:
    """What is counted, how much of it there may be, and how that is said."""
    limits: list[tuple[str, RateLimitItem, str]] = []
    if (tokens := caller.tokens_per_minute) is not None:
        limits.append((_TOKENS, RateLimitItemPerMinute(tokens), f"{tokens} tokens"))
    if (seconds := caller.cpu_seconds_per_minute) is not None:
        limits.append((_CPU, RateLimitItemPerMinute(max(1, round(seconds * 1e3))), f"{seconds:g} seconds of CPU"))
    return limits
