"""Request bodies that hold many values: other requests come in between their decoding and their validation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

#: Decoding fewer bytes takes less than a millisecond.
_LONG_BYTES: Final = 64 * 1024


class _LongBodyRequest(Request):
    async def json(self) -> Any:
        document = await super().json()
        if len(await self.body()) > _LONG_BYTES:
            await asyncio.sleep(0)
        return document


class LongBodyRoute(APIRoute):
    """A route of which the body is a conversation."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_in_steps(request: Request) -> Response:
            return await handle(_LongBodyRequest(request.scope, request.receive))

        return handle_in_steps
