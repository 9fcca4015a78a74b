"""Program. The interpreter's end of its channel to the supervisor: frames in, messages out."""

from __future__ import annotations

import _thread
import array
import os
import select
import socket
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any

from sandbox_image.interrupts import Interrupts
from sandbox_image.protocol import INTERPRETER, FrameDecoder, encode_message
from sandbox_image.streams import wait_socket_read

#: ``json.loads`` asks first which encoding it is.
_from_json = JSONDecoder().decode
#: The length field of a shorter frame begins with a zero byte.
_SMALL_FRAME = 1 << 24
_FD_BYTES = array.array("i").itemsize


class SupervisorChannel:
    """Messages belong to the execution in flight. Threads of the program send too; what they show when nothing is in
    flight is lost. Frames are sent whole, whatever interrupts. Forked children are mute."""

    def __init__(self, stream: socket.socket, interrupts: Interrupts) -> None:
        self._stream = stream
        self._stream.set_inheritable(False)
        self._interrupts = interrupts
        self._pid = os.getpid()
        self._lock = _thread.allocate_lock()
        self._zero_sent = False
        self._execution: int | None = None
        self.meanwhile: Iterator[object] | None = None

    def receive(self) -> Iterator[dict[str, Any]]:
        """Messages, until the supervisor closes its end. Until the next one comes, ``meanwhile`` is advanced."""
        decoder = FrameDecoder()
        room = socket.CMSG_SPACE(_FD_BYTES)
        while True:
            while self.meanwhile and not select.select([self._stream], (), (), 0)[0]:
                if next(self.meanwhile, self) is self:
                    break
            self.meanwhile = None
            data, ancillary, _, _ = self._stream.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            if ancillary:
                self.received_fd = array.array("i", ancillary[0][2])[0]
            for _, payload in decoder.feed(data):
                yield _from_json(payload.decode())

    def replace(self, fd: int) -> bool:
        """In a copy of the interpreter: talk over ``fd`` from now on. Waits for the first byte that comes over it;
        false if none does. The descriptor keeps its number: ``receive`` is in the middle of its loop."""
        os.dup2(fd, self._stream.fileno(), inheritable=False)
        os.close(fd)
        self._pid = os.getpid()
        return bool(self._stream.recv(1, socket.MSG_PEEK))

    def begin(self, execution: int) -> int:
        """What follows answers this execution."""
        self._execution = execution
        return execution

    def fileno(self) -> int:
        return self._stream.fileno()

    def answer(self, message: dict[str, Any]) -> None:
        """Tell the supervisor what no execution asked for."""
        self._stream.sendall(encode_message(INTERPRETER, message))

    def send(self, message: dict[str, Any]) -> None:
        if os.getpid() == self._pid:
            with self._interrupts.deferred(), self._lock:
                self._write(message)

    def end(self, message: dict[str, Any]) -> None:
        """Send the message that ends the execution."""
        if os.getpid() == self._pid:
            with self._interrupts.deferred(), self._lock:
                self._write(message)
                self._execution = None

    def send_in_order(self, message: dict[str, Any]) -> None:
        """Send, and return when the supervisor has passed the message on: what is printed afterwards comes after it.

        The supervisor has read the message, passes on what the pipes hold, then the message, and reads again. So the
        first byte of the next frame, always zero, follows on its own: when that is read, the message is on its way.
        """
        if os.getpid() == self._pid:
            with self._interrupts.deferred(), self._lock:
                if not self._write(message):
                    return
                wait_socket_read(self._stream.fileno())
                self._stream.sendall(b"\0")
                self._zero_sent = True
                wait_socket_read(self._stream.fileno())

    def _write(self, message: dict[str, Any]) -> bool:
        if self._execution is None:
            return False
        frame = _encode({**message, "id": self._execution})
        self._stream.sendall(frame[1:] if self._zero_sent else frame)
        self._zero_sent = False
        return True


def _encode(message: dict[str, Any]) -> bytes:
    frame = encode_message(INTERPRETER, message)
    if len(frame) < _SMALL_FRAME:
        return frame
    return _encode({**message, "data": {"text/plain": "[left out: too large]"}, "metadata": {}})
