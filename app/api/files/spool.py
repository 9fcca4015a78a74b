"""A file on its way between a client and a sandbox.

A sandbox is only handed files that are here in full: one that breaks off halfway would end it. And it is only kept
waiting for our disk, never for a client's line.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.edge.errors import error_response
from app.api.event_stream import until_client_leaves
from app.api.files.filenames import attachment
from app.errors import EagerError, RequestError
from app.store.blobs import in_thread

#: Smaller files stay in memory. Larger ones go to a file without a name, which cannot be left behind.
IN_MEMORY_BYTES = 1024 * 1024
PIECE = 256 * 1024

#: Takes the bytes of a file, in order.
Write = Callable[[bytes], Awaitable[None]]


class Spool:
    """``async with Spool(max_bytes=...) as spool``: write it, then iterate over it."""

    def __init__(self, *, max_bytes: int) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __aexit__

    def __repr__(self) -> str:
        return f"<Spool of {self.size} bytes>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    async def write(self, data: bytes) -> None:
        """
        Raises:
            RequestError: 413, the file is too large.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise RequestError(
                f"The file is larger than {self._max_bytes} bytes.", param="file", code="request_too_large", status=413
            )
        if self.size <= IN_MEMORY_BYTES:
            self._file.write(data)
        else:
            await in_thread(self._file.write, data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while piece := await in_thread(self._file.read, PIECE):
            yield piece


class SpooledFile(Response):
    """Sends a file that ``fetch`` reads from a sandbox. What goes wrong on the way is an error, not half a file."""

    def __init__(self, fetch: Callable[[Write], Awaitable[None]], *, filename: str, max_bytes: int) -> None:
        self._fetch = fetch
        self._max_bytes = max_bytes
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers(
            {
                "content-type": "application/octet-stream",
                "content-disposition": attachment(filename),
                "x-content-type-options": "nosniff",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with Spool(max_bytes=self._max_bytes) as spool:
            try:
                await self._fetch(spool.write)
            except EagerError as error:
                await error_response(error)(scope, receive, send)
                return
            self.headers["content-length"] = str(spool.size)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for piece in spool:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
