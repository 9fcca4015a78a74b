"""What a sandbox's first process writes to stderr: the reason, where a sandbox does not start."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final, cast

_STDERR_TAIL: Final = 4096


class StderrTail(asyncio.Protocol):
    """Reads all that a process writes to stderr, and keeps the end of it."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data[-_STDERR_TAIL:])
        self._size += len(self._pieces[-1])
        while self._size - len(self._pieces[0]) >= _STDERR_TAIL:
            self._size -= len(self._pieces.popleft())

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()

    async def wait_end(self, timeout_s: float) -> None:
        """Wait until the last writer is gone; after that time, stop reading."""
        if self._transport is None:  # nothing was to be read
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        self._transport.close()

    def text(self) -> str:
        return b"".join(self._pieces)[-_STDERR_TAIL:].decode(errors="replace").strip()
