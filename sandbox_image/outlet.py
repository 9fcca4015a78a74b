"""Supervisor. The writing end of a non-blocking descriptor."""

from __future__ import annotations

import os
import select
from collections import deque


class StreamEnded(Exception):
    """The other side of a stream is gone."""


class Outlet:
    """Writes at once what the descriptor takes and keeps the rest, in order.

    It is registered with the epoll object only while something is kept; ``flush`` is to be called when the descriptor
    is writable. The descriptor must not be registered for reading as well: give a duplicate.
    """

    def __init__(self, fd: int, epoll: select.epoll) -> None:
        self.fd = fd
        self.pending = 0
        self._epoll = epoll
        self._queue: deque[memoryview] = deque()

    def __repr__(self) -> str:
        return f"<Outlet {self.fd}, {self.pending} bytes pending>"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write ``data``. It may be kept: while ``pending`` is not zero the caller must not change what it gave.

        Raises:
            StreamEnded: nobody reads any more.
        """
        sent = 0
        if not self.pending:
            sent = self._write(data)
            if sent == len(data):
                return
            self._epoll.register(self.fd, select.EPOLLOUT)
        self._queue.append(memoryview(data)[sent:])
        self.pending += len(data) - sent

    def flush(self) -> None:
        """Write on.

        Raises:
            StreamEnded: nobody reads any more.
        """
        queue = self._queue
        while queue:
            piece = queue[0]
            sent = self._write(piece)
            self.pending -= sent
            if sent < len(piece):
                queue[0] = piece[sent:]
                return
            queue.popleft()
        self._epoll.unregister(self.fd)

    def drop(self) -> None:
        """Forget what is kept."""
        if self.pending:
            self._epoll.unregister(self.fd)
            self._queue.clear()
            self.pending = 0

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise StreamEnded(error.strerror) from error
