"""Program. sys.stdout and sys.stderr of the program: pipes that behave like a terminal, with an order between the two.

The supervisor reads two pipes and cannot know which was written first. So before a byte goes to one of them the other
must have been read empty: then what the supervisor has taken, it took in the order of writing. Subprocesses and C code
write to the descriptors directly: in order on their own stream, and before whatever Python writes later.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import os
import struct
import sys
import termios
from time import monotonic, sleep
from typing import Any

#: How long a writer waits for the reader of the other stream. Longer than any pause of a healthy supervisor; a slow
#: client may take longer, and then the order between the streams is lost, never text.
_PATIENCE_S = 2.0
#: Our own descriptors start here, out of the way of those the program opens.
_OWN_FDS = 200
_ZERO = bytes(4)
#: Looked up once: that takes 13 us.
_flush_c_streams = ctypes.CDLL(None).fflush


class Streams:
    """The two pipes, given at start as descriptors 1 and 2."""

    def __init__(self) -> None:
        self._pipes = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OWN_FDS) for fd in (1, 2)}
        old_stdout, old_stderr = sys.__stdout__, sys.__stderr__
        self._errors = {
            1: old_stdout.errors if old_stdout and old_stdout.errors else "strict",
            2: "backslashreplace",
        }
        self._files: dict[int, io.TextIOWrapper[Any]] = {}
        self._stdin: io.TextIOWrapper[Any] | None = None
        self._replaced = (sys.stdin, sys.stdout, sys.stderr, old_stdout, old_stderr)  # closing them would close 0, 1, 2
        self.restore()

    def descriptors(self) -> tuple[int, ...]:
        """Those that are not the program's."""
        return tuple(self._pipes.values())

    def restore(self) -> None:
        """Undo what a program did to its standard streams: the state in which a script starts."""
        # First let go of what the program has put there: a file that is collected closes its descriptor, or our buffer.
        sys.stdin = sys.stdout = sys.stderr = None
        sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc]
        for fd, pipe in self._pipes.items():
            with contextlib.suppress(OSError):
                os.dup2(pipe, fd)
            if fd not in self._files or not _is_usable(self._files[fd]):
                self._files[fd] = self._text_file(fd)
        if not _is_open(0):
            null = os.open(os.devnull, os.O_RDONLY)
            if null != 0:
                os.dup2(null, 0)
                os.close(null)
        if self._stdin is None or not _is_usable(self._stdin):
            self._stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
            self._stdin.buffer.raw.name = "<stdin>"  # type: ignore[attr-defined]
        sys.stdin = sys.__stdin__ = self._stdin  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = self._files[1]  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self._files[2]  # type: ignore[misc]

    def reopen(self) -> None:
        """Give closed descriptors back to the pipes; one that was pointed elsewhere on purpose is left."""
        for fd, pipe in self._pipes.items():
            if not _is_open(fd):
                with contextlib.suppress(OSError):
                    os.dup2(pipe, fd)

    def foreign(self) -> list[Any]:
        """What the program has put in the place of our streams. Its methods are code of the program."""
        ours = (self._files[1], self._files[2])
        now = (getattr(sys, "stdout", None), getattr(sys, "stderr", None))
        return [file for file in now if file is not ours[0] and file is not ours[1]]

    def flush_foreign(self, files: list[Any]) -> None:
        """A stream the program broke is its own loss."""
        for file in files:
            with contextlib.suppress(Exception):
                file.flush()

    def flush(self) -> None:
        """Write out all that was printed to our streams, by Python and by C code."""
        for file in self._files.values():
            with contextlib.suppress(Exception):  # closed by the program, or without a reader: its own loss
                file.flush()
        _flush_c_streams(None)

    def wait_read(self) -> None:
        """Wait until the supervisor has taken everything written so far."""
        for pipe in self._pipes.values():
            _wait_empty(pipe)

    def _text_file(self, fd: int) -> io.TextIOWrapper[Any]:
        raw = io.FileIO(fd, "w", closefd=False)
        raw.name = "<stdout>" if fd == 1 else "<stderr>"
        buffer = _Ordered(raw, other=self._pipes[3 - fd])
        text = io.TextIOWrapper(buffer, encoding="utf-8", errors=self._errors[fd], line_buffering=True)
        text.mode = "w"  # type: ignore[misc]
        return text


class _Ordered(io.BufferedWriter):
    """Waits for the other pipe before anything leaves. Not done in ``FileIO.write``: an interrupt that came up between
    the system call and our return would make the buffer write the same bytes again."""

    def __init__(self, raw: io.FileIO, *, other: int) -> None:
        super().__init__(raw)
        self._other = other
        self._is_clean = True  # nothing was written since the last flush

    def write(self, data: Any, /) -> int:
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if size > io.DEFAULT_BUFFER_SIZE:  # else it goes with a flush
            _wait_empty(self._other)
        try:
            return super().write(data)
        finally:
            self._is_clean = False  # behind it: signal handlers and other threads flush, too

    def flush(self) -> None:
        if self._is_clean and not self.closed:
            return
        _wait_empty(self._other)
        self._is_clean = True  # before, because of other threads
        try:
            super().flush()
        except BaseException:
            self._is_clean = False
            raise


def _is_usable(file: io.TextIOWrapper[Any]) -> bool:
    try:
        return not file.closed
    except ValueError:  # its buffer was detached
        return False


def _wait_empty(pipe: int) -> None:
    """There is no event for "a pipe was read empty": ask, ever less often."""
    if not _unread(pipe):
        return
    deadline, pause = monotonic() + _PATIENCE_S, 0.00002
    while _unread(pipe) and monotonic() < deadline:
        sleep(pause)
        pause = min(2 * pause, 0.002)


def _unread(pipe: int) -> int:
    try:
        size: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, _ZERO))[0]
    except OSError:  # closed by the program
        return 0
    return size


def wait_socket_read(fd: int) -> None:
    """Wait until the peer of a Unix socket has received everything sent."""
    deadline, pause = monotonic() + _PATIENCE_S, 0.00002
    while struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, _ZERO))[0] and monotonic() < deadline:
        sleep(pause)
        pause = min(2 * pause, 0.002)


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True
