"""The requests that are open when the server is told to stop, and an end for each that its client understands.

uvicorn cancels the requests that outlast its grace period and answers them with a plain 500. SDKs retry that, and the
code runs once more. Before that happens, ``end`` turns each into an error of ours, which takes the way of all errors.
Requests that run something end first, and get a moment to say so. All others follow a little later: those that are
still being sent, and those that wait in line or for a sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.edge.errors import error_response
from app.errors import ShuttingDown

#: What ends by itself has so long for it: code is interrupted and, where it does not heed that, killed.
END_S = 2.0


class OpenRequests:
    """Those of one server."""

    def __init__(self) -> None:
        self._limits: dict[asyncio.Timeout, float] = {}
        self._ended = False

    def __repr__(self) -> str:
        return f"<OpenRequests {len(self._limits)}{', ended' if self._ended else ''}>"

    async def run(self, work: Awaitable[object], *, end_s: float = 0) -> None:
        """Wait for ``work``; it is cancelled when the server stops, or ``end_s`` later.

        Raises:
            ShuttingDown: it was.
        """
        limit = asyncio.timeout(end_s if self._ended else None)
        self._limits[limit] = end_s
        try:
            async with limit:
                await work
        except TimeoutError:
            if limit.expired():
                raise ShuttingDown("The server is shutting down.") from None
            raise
        finally:
            del self._limits[limit]

    def end(self) -> None:
        """End what runs, and whatever begins from now on."""
        if self._ended:
            return
        self._ended = True
        now = asyncio.get_running_loop().time()
        for limit, end_s in self._limits.items():
            limit.reschedule(now + end_s)


class ShutdownMiddleware:
    """Ends what has not ended by itself. Where an answer has begun nothing can be said any more: it is cut off."""

    def __init__(self, app: ASGIApp, *, open_requests: OpenRequests) -> None:
        self._app = app
        self._open_requests = open_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._open_requests.run(self._app(scope, receive, noting), end_s=END_S)
        except ShuttingDown as error:
            if not begun:
                await error_response(error)(scope, receive, send)
