"""How large a request body may be, and how long it may take to arrive."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.edge.errors import error_response

#: Where files are uploaded, which may be larger than other bodies.
UPLOADS = re.compile(r"/v1/(files|containers/[^/]+/files|sessions/[^/]+/files/.+)/?")

#: A body earns more time by arriving: a second for each such piece (as Apache's ``RequestReadTimeout`` MinRate does),
#: so that large uploads over slow lines pass and a client that drips single bytes does not.
BYTES_PER_S = 32 * 1024


class BodyLimitMiddleware:
    """Refuses bodies that are too large (413) or too slow (408). Pure ASGI; a body read to its end costs nothing more.

    The size is checked when it is declared, and counted while the body arrives since it need not be. The refusal is
    raised in the application as an ``HTTPException``, which FastAPI lets through to our handlers.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_upload_bytes = max_upload_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_upload_bytes if UPLOADS.fullmatch(scope["path"]) else self._max_bytes
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            await error_response(_too_large(max_bytes))(scope, receive, send)
            return
        await self._app(scope, _BoundedBody(receive, max_bytes, self._timeout_s).receive, send)


class _BoundedBody:
    """One request body on its way in. Only time spent waiting for the client counts, not what the application takes."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._patience_s = timeout_s
        self._received = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            async with asyncio.timeout(self._patience_s):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "The request body was not received in time.", {"connection": "close"}) from None
        size = len(message.get("body", b""))
        self._patience_s += size / BYTES_PER_S - (clock() - asked_at)
        self._received += size
        self._complete = not message.get("more_body", False)
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        return message


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"The request body is larger than {max_bytes} bytes.")
