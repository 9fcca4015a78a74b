"""Supervisor. The supervisor's side of one living interpreter: its output and its messages on their way to the
gateway."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import termios
from typing import Final

from sandbox_image.frames import FrameCutter, kind_of
from sandbox_image.outlet import Outlet
from sandbox_image.process import Lines
from sandbox_image.protocol import HEADER, INTERPRETER, MAX_DATA_BYTES, PROGRESS, STDERR, STDOUT, ProtocolError

_READ_BYTES: Final = 128 * 1024
#: channel.py sends no larger one. A hostile one of the protocol's limit costs the gateway copies of it, and a second.
MAX_MESSAGE_BYTES: Final = 1 << 24


class ChannelClosed(Exception):
    """By the interpreter, most likely because it is dying."""


class Relay:
    """Passes on what one interpreter writes. The order of the two things it writes to is rule 1 of loop.py."""

    def __init__(self, pid: int, lines: Lines, gateway: Outlet, epoll: select.epoll) -> None:
        self.pid = pid
        self.channel_fd = lines.channel[0]
        #: Kind of the frames by descriptor of the pipe, of those that are still open.
        self.outputs = {lines.stdout[0]: STDOUT, lines.stderr[0]: STDERR}
        #: Messages to the interpreter.
        self.channel = Outlet(os.dup(self.channel_fd), epoll)
        self.lines = lines
        self._gateway = gateway
        self._cutter = FrameCutter(MAX_MESSAGE_BYTES)
        self._new_buffer()
        # One system call tells whether either pipe holds anything, usually not: cheaper than two reads that fail.
        self._output_poll = select.poll()
        for fd in self.outputs:
            self._output_poll.register(fd, select.POLLIN)

    def __repr__(self) -> str:
        return f"<Relay of process {self.pid}, {self._cutter!r}>"

    def _new_buffer(self) -> None:
        """Room for one output frame: the header is written in front of what was read, and nothing is copied."""
        self._frame = memoryview(bytearray(HEADER.size + MAX_DATA_BYTES))
        self._payload = [self._frame[HEADER.size :]]

    def relay_output(self, fd: int) -> int:
        """Pass on what one pipe holds, a frame of it at most. Returns its size; 0 if the pipe is empty or has no writer
        any more: then it is among ``outputs`` no longer."""
        try:
            size = os.readv(fd, self._payload)
        except BlockingIOError:
            return 0
        if size == 0:
            del self.outputs[fd]
            self._output_poll.unregister(fd)
            return 0
        HEADER.pack_into(self._frame, 0, size + 1, self.outputs[fd])
        self._gateway.write(self._frame[: HEADER.size + size])
        if self._gateway.pending:  # it has kept our buffer
            self._new_buffer()
        return size

    def relay_messages(self) -> None:
        """Read the channel once and pass on the frames that have become whole, after the output written before them.

        Raises:
            ChannelClosed: nothing more will come.
            ProtocolError: not frames of an interpreter.
        """
        frames = self._read_frames()
        if frames:
            self._relay_written_output()
            for frame in frames:
                self._gateway.write(frame)

    def _read_frames(self) -> list[bytes | bytearray]:
        try:
            data = os.read(self.channel_fd, _READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            raise ChannelClosed
        frames = self._cutter.feed(data)
        for frame in frames:
            if kind_of(frame) != INTERPRETER:
                raise ProtocolError(f"frame of kind {kind_of(frame)} from the interpreter")
        return frames

    def _relay_written_output(self) -> None:
        """What the pipes hold at this moment. Not more: another thread of the program may never stop writing."""
        for fd, _ in self._output_poll.poll(0):
            held = bytearray(4)
            fcntl.ioctl(fd, termios.FIONREAD, held)
            left = int.from_bytes(held, "little")
            while left > 0 and (size := self.relay_output(fd)):
                left -= size

    def relay_rest(self) -> None:
        """Pass on the last messages and all remaining output, when every process that could write more is dead."""
        frames: list[bytes | bytearray] = []
        with contextlib.suppress(ChannelClosed, ProtocolError):
            while more := self._read_frames():
                frames += more
        for fd in list(self.outputs):
            while self.relay_output(fd):
                pass
        for frame in frames:
            self._gateway.write(frame)

    def progress(self) -> tuple[int, int]:
        """Execution in flight (0: none) and how many of its chunks have finished, as the interpreter claims."""
        number, ran = PROGRESS.unpack_from(self.lines.progress)
        return number, ran

    def send_descriptor(self, frame: bytes, fd: int) -> bool:
        """Send a frame with a descriptor, which remains ours as well. False: the interpreter does not read."""
        if self.channel.pending:
            return False
        with socket.socket(fileno=os.dup(self.channel_fd)) as channel:
            try:
                sent = socket.send_fds(channel, [frame], [fd])
            except OSError:
                return False
        self.channel.write(frame[sent:])
        return True

    def interrupt(self) -> None:
        """SIGINT, also for a process that has stopped itself. The interpreter only: its children are its own."""
        os.kill(self.pid, signal.SIGINT)
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        self.channel.drop()
        os.close(self.channel.fd)
        self.lines.close_supervisor_side()
