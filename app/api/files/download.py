"""The answer that is a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.event_stream import until_client_leaves
from app.api.files.filenames import attachment


class Content(Protocol):
    """Bytes whose number is known."""

    @property
    def size(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Download(Response):
    """Opens content and sends it piece by piece. When the client leaves, it stops reading. What cannot be opened is an
    error, not half a file."""

    def __init__(
        self, opening: AbstractAsyncContextManager[Content], headers: Mapping[str, str], *, status: int = 200
    ) -> None:
        self._opening = opening
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(send))

    async def _run(self, send: Send) -> None:
        async with self._opening as content:
            self.headers["content-length"] = str(content.size)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in content:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def saved_as(filename: str) -> dict[str, str]:
    """Headers of a file that browsers are to save, and never to show."""
    return {
        "content-type": "application/octet-stream",
        "content-disposition": attachment(filename),
        "x-content-type-options": "nosniff",
    }
