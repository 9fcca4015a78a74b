"""What the server is answering when it is told to stop, and how that comes to an end the client is told of.

uvicorn cancels the tasks of requests that outlast its grace period, and answers for them what no SDK understands: a
plain 500, which they retry, so that code runs once more. Before that happens ``end`` makes an error of ours out of
each, which takes the way of all errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from app.errors import ShuttingDown


class OpenRequests:
    """``app.state.open_requests``."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self._ended = False

    def __repr__(self) -> str:
        return f"<OpenRequests {len(self._limits)}{', ended' if self._ended else ''}>"

    async def run(self, work: Awaitable[object]) -> None:
        """Wait for ``work``; it is cancelled when the server stops.

        Raises:
            ShuttingDown: it was.
        """
        limit = asyncio.timeout(0 if self._ended else None)
        self._limits.add(limit)
        try:
            async with limit:
                await work
        except TimeoutError:
            if limit.expired():
                raise ShuttingDown("The server is shutting down.") from None
            raise
        finally:
            self._limits.discard(limit)

    def end(self) -> None:
        """End what runs, and whatever begins from now on."""
        if self._ended:
            return
        self._ended = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)
