"""How large a request body may be, how many values it may hold, and how long it may take to arrive."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.edge.errors import error_response
from app.json_size import MAX_VALUES, TooManyValues, check_values, marks

#: Where files are uploaded, which may be larger than other bodies.
UPLOADS = re.compile(
    r"/v1/(audio/(transcriptions|translations)|images/(edits|variations)|files|containers/[^/]+/files|sessions/[^/]+/files/.+)/?"
)

#: A body earns more time by arriving: a second for each such piece (as Apache's ``RequestReadTimeout`` MinRate does),
#: so that large uploads over slow lines pass and a client that drips single bytes does not.
BYTES_PER_S = 32 * 1024


class BodyLimitMiddleware:
    """Refuses bodies that are too large (413), hold too many values (400) or are too slow (408). Pure ASGI; a body read
    to its end costs nothing more.

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
        is_upload = UPLOADS.fullmatch(scope["path"]) is not None
        max_bytes = self._max_upload_bytes if is_upload else self._max_bytes
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            await error_response(_too_large(max_bytes))(scope, receive, send)
            return
        await self._app(scope, _BoundedBody(receive, max_bytes, self._timeout_s, is_json=not is_upload).receive, send)


class _BoundedBody:
    """One request body on its way in. Only time spent waiting for the client counts, not what the application takes."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float, *, is_json: bool) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._patience_s = timeout_s
        self._received = 0
        self._complete = False
        self._marks = 0
        self._pieces: list[bytes] | None = [] if is_json else None

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
        if self._pieces is not None:
            await self._count_values(message.get("body", b""))
        return message

    async def _count_values(self, piece: bytes) -> None:
        assert self._pieces is not None
        self._pieces.append(piece)
        self._marks += marks(piece)
        if self._complete:
            pieces, self._pieces = self._pieces, None
            if self._marks >= MAX_VALUES:
                try:
                    await check_values(pieces)
                except TooManyValues as error:
                    raise HTTPException(400, f"The request body cannot be read: {error}.") from None


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"The request body is larger than {max_bytes} bytes.")
