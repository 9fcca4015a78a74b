"""Supervisor. Cuts a byte stream into frames that stay encoded, so that a relay can pass them on as they came."""

from __future__ import annotations

from sandbox_image.protocol import HEADER, MAX_FRAME_BYTES, ProtocolError

_HEADER_BYTES = HEADER.size
#: The length field counts everything behind it.
_LENGTH_BYTES = _HEADER_BYTES - 1


def kind_of(frame: bytes | bytearray) -> int:
    return frame[_LENGTH_BYTES]


class FrameCutter:
    """Pure core: bytes cut anywhere -> whole frames, header included. Keeps only the unfinished frame.

    A read that is exactly one frame, the usual case, comes out as the object that went in.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._partial = bytearray()
        self._max = max_frame_bytes

    def __repr__(self) -> str:
        return f"<FrameCutter {len(self._partial)} bytes of an unfinished frame>"

    def feed(self, data: bytes) -> list[bytes | bytearray]:
        """Frames completed by ``data``.

        Raises:
            ProtocolError: a length of zero or above the limit.
        """
        frames: list[bytes | bytearray] = []
        start, end = 0, len(data)
        while start < end:
            if self._partial:
                start = self._complete(data, start, frames)
                continue
            stop = start + self._size(data, start) if end - start >= _HEADER_BYTES else end + 1
            if stop > end:
                self._partial += data[start:]
                break
            frames.append(data if stop - start == end else data[start:stop])
            start = stop
        return frames

    def _complete(self, data: bytes, start: int, frames: list[bytes | bytearray]) -> int:
        """Give the unfinished frame the bytes it lacks, those of its header first. Returns where the next starts."""
        partial = self._partial
        target = self._size(partial, 0) if len(partial) >= _HEADER_BYTES else _HEADER_BYTES
        stop = min(len(data), start + target - len(partial))
        partial += data[start:stop]
        if len(partial) >= _HEADER_BYTES and len(partial) == self._size(partial, 0):
            frames.append(partial)
            self._partial = bytearray()
        return stop

    def _size(self, data: bytes | bytearray, start: int) -> int:
        length: int = HEADER.unpack_from(data, start)[0]
        if not 0 < length <= self._max:
            raise ProtocolError(f"frame of {length} bytes, limit is {self._max}")
        return length + _LENGTH_BYTES
