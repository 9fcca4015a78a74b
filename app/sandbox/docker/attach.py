"""The stream of ``POST /containers/{id}/attach`` without a terminal: an HTTP response head, then pieces of stdout and
stderr, each behind 8 bytes: ``u8 stream (1 stdout, 2 stderr) | 3 zero bytes | u32 length (big endian)``.

Source: Docker Engine API, ContainerAttach, "Stream format".
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

from app.sandbox.worker.stderr_tail import StderrTail
from app.sandbox.worker.transport import Channel

STDOUT: Final = 1
STDERR: Final = 2
_PIECE_HEADER: Final = struct.Struct(">BxxxI")
_MAX_HEAD_BYTES: Final = 16 * 1024


class AttachRefusedError(Exception):
    """The engine answered with something else than a stream."""


class AttachDecoder:
    """Pure core: bytes cut anywhere -> ``(stream, data)`` pairs. Data is passed on as it comes, not by whole pieces."""

    def __init__(self) -> None:
        self.attached = False
        self._unread = b""  # of the head, or of a piece's header
        self._stream = 0
        self._left = 0

    def __repr__(self) -> str:
        return f"<AttachDecoder {'attached' if self.attached else 'in the head'}, {self._left} bytes to come>"

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        Raises:
            AttachRefusedError
        """
        if self._unread:
            data, self._unread = self._unread + data, b""
        position = 0
        if not self.attached:
            position = self._read_head(data)
        pieces: list[tuple[int, bytes]] = []
        while position < len(data):
            if not self._left:
                if len(data) - position < _PIECE_HEADER.size:
                    self._unread = data[position:]
                    break
                self._stream, self._left = _PIECE_HEADER.unpack_from(data, position)
                position += _PIECE_HEADER.size
                continue
            piece = data[position : position + self._left]
            pieces.append((self._stream, piece))
            position += len(piece)
            self._left -= len(piece)
        return pieces

    def _read_head(self, data: bytes) -> int:
        """Where the stream begins."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _MAX_HEAD_BYTES:
                raise AttachRefusedError("attach: not an HTTP response")
            self._unread = data
            return len(data)
        status_line = data[: data.index(b"\r\n")].decode("latin-1")
        fields = status_line.split(" ", 2)
        if not fields[0].startswith("HTTP/1.") or fields[1:2] not in (["101"], ["200"]):
            raise AttachRefusedError(f"attach: {status_line}")
        self.attached = True
        return end + 4


class AttachedChannel(Channel):
    """Frames over stdin and stdout of a container. The end of what it says on stderr is kept in ``tail``.

    Args:
        hint: what a connection that ends without an error may mean.
    """

    def __init__(self, hint: str = "") -> None:
        super().__init__()
        self._hint = hint
        self.tail = StderrTail()
        self._attach = AttachDecoder()
        self._attached = asyncio.Event()

    async def wait_attached(self) -> None:
        """Wait for the answer of the engine. Also returns if there is none: the owner of the channel has been told."""
        await self._attached.wait()

    def data_received(self, data: bytes) -> None:
        try:
            pieces = self._attach.feed(data)
        except AttachRefusedError as error:
            self._end(str(error))
            self._attached.set()
            return
        if self._attach.attached:
            self._attached.set()
        for stream, piece in pieces:
            if stream == STDOUT:
                super().data_received(piece)
            else:
                self.tail.data_received(piece)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._hint:
            self._end(f"the sandbox closed the connection ({self._hint})")
        super().connection_lost(exc)
        self._attached.set()
