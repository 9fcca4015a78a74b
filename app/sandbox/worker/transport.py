"""One byte stream to a sandbox as frames: the only place that touches an asyncio transport.

``data_received`` hands every complete frame to the owner at once, in a plain call: no task, no queue and no wake-up
lies between the socket and the worker's state machine. Back-pressure is the owner's: it calls ``pause_reading`` when
what it keeps is enough, and the kernel's buffers then stop the writer.

A backend whose stream is wrapped in something (Docker's multiplexed attach) subclasses ``Channel`` and unwraps in
``data_received``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from sandbox_image.frames import FrameCutter, kind_of
from sandbox_image.protocol import HEADER, MAX_FRAME_BYTES, ProtocolError


class Channel(asyncio.Protocol):
    """Frames over one stream. After ``on_close`` was called nothing more is delivered."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._cutter = FrameCutter(max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._on_frame: Callable[[int, bytes], None] | None = None
        self._on_close: Callable[[str], None] | None = None
        self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self._closed: str | None = None

    def __repr__(self) -> str:
        return f"<Channel {self._closed or 'open'}{'' if self._reading else ', paused'}>"

    def attach(self, on_frame: Callable[[int, bytes], None], on_close: Callable[[str], None]) -> None:
        """Name the owner, before the stream is connected."""
        self._on_frame, self._on_close = on_frame, on_close

    def send(self, data: bytes) -> None:
        """Queue bytes for writing. After the end of the stream they go nowhere."""
        if self._transport is not None and self._closed is None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while the sandbox is slower than we write."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def pause_reading(self) -> None:
        if self._reading and self._transport is not None and self._closed is None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            if self._closed is None:
                self._transport.resume_reading()

    def abort(self, why: str) -> None:
        """Close at once; what was queued for writing is dropped."""
        self._end(why)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the base class
        if self._closed is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._cutter.feed(data)
        except ProtocolError as error:
            self._end(str(error))
            return
        assert self._on_frame is not None, "attach() comes before connecting"
        for frame in frames:
            if self._closed is not None:  # the owner found the frame before this one invalid
                return
            self._on_frame(kind_of(frame), bytes(memoryview(frame)[HEADER.size :]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "the sandbox closed the connection")

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _end(self, why: str) -> None:
        if self._closed is not None:
            return
        self._closed = why
        if self._transport is not None:
            self._transport.abort()
        self.resume_writing()
        if self._on_close is not None:
            self._on_close(why)


async def connect_socket(sock: socket.socket, channel: Channel) -> None:
    """Let ``channel`` speak over a connected Unix socket, and own it from now on."""
    sock.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
