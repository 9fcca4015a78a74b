"""A file on its way between a client and a sandbox.

A sandbox is only handed files that are here in full: one that breaks off halfway would end it. And it is only kept
waiting for our disk, never for a client's line.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from app.errors import RequestError
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


@asynccontextmanager
async def spooled(fetch: Callable[[Write], Awaitable[None]], *, max_bytes: int) -> AsyncIterator[Spool]:
    """A file that ``fetch`` reads from a sandbox.

    Raises:
        RequestError: 413, the file is too large; or as ``fetch``.
    """
    async with Spool(max_bytes=max_bytes) as spool:
        await fetch(spool.write)
        yield spool
