"""Supervisor. The loop of the first process in a sandbox: one gateway, one interpreter, and the bytes between them.

Rules.
1. A frame of the interpreter is passed on when it is whole, so that one it never finishes holds up nobody, and after
   all output that was written before it (the interpreter flushes before it speaks).
2. While the gateway does not take what it was sent, neither output nor frames of the interpreter are read: user code
   then blocks in write(2). The gateway itself is always read: it must be able to interrupt and reset.
3. An interpreter dies in one place, ``_bury``, with everything it has started; the next is born in one place, at the
   top of the loop. So events of one round never meet a descriptor that was closed and opened anew.
4. A copy of the interpreter that stands by (a checkpoint) survives the interpreter, however that dies. A rollback makes
   it the interpreter, in the place of whichever is there (transactions.py).
5. A broken rule of the protocol costs the interpreter its life if it broke it, and the sandbox if the gateway did.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from sandbox_image import orders, process
from sandbox_image.file_operations import FileOperations
from sandbox_image.frames import FrameCutter, kind_of
from sandbox_image.outlet import Outlet, StreamEnded
from sandbox_image.process import Lines
from sandbox_image.protocol import (
    CONTROL,
    FILE,
    HEADER,
    INTERPRETER,
    PROTOCOL_VERSION,
    ProtocolError,
    encode_message,
)
from sandbox_image.relay import ChannelClosed, Relay
from sandbox_image.transactions import Transactions
from sandbox_image.work_folder import WorkFolder

_READ_BYTES: Final = 128 * 1024
#: An interpreter that has closed its channel ends by itself within this time, or it is killed.
_PARTING_TIME_S: Final = 0.25
#: An interrupt may overtake its execution, which the interpreter is still reading: it is good for this time.
_INTERRUPT_TIME_S: Final = 1.0
#: How often the two conditions above, of which no event tells, are looked at while one of them lasts.
_LOOK_INTERVAL_S: Final = 0.001
#: Interpreters that may die in a row before anything was asked of them.
_MAX_STILLBORN: Final = 5


class InterpreterBroken(Exception):
    """No interpreter lives long enough to be used."""


class Supervisor:
    """Relays until the gateway leaves."""

    def __init__(
        self,
        *,
        read_fd: int,
        write_fd: int,
        folder: WorkFolder,
        workdir: str,
        languages: list[str],
        uid: int | None,
    ) -> None:
        """The gateway is at ``read_fd`` and ``write_fd``: non-blocking, one a duplicate of the other if need be."""
        self._uid = uid
        self._ready = encode_message(
            CONTROL,
            {
                "t": "ready",
                "protocol": PROTOCOL_VERSION,
                "python": list(sys.version_info[:3]),
                "languages": languages,
                "workdir": workdir,
            },
        )
        self._epoll = select.epoll()
        #: By descriptor. An event of a descriptor that is not here any more was dealt with in the same round.
        self._handlers: dict[int, Callable[[], None]] = {}
        self._read_fd = read_fd
        self._gateway = Outlet(write_fd, self._epoll)
        self._gateway_frames = FrameCutter()
        self._handlers[write_fd] = self._gateway.flush
        self.watch(read_fd, self._on_gateway)
        self._wakeup_fd = _open_wakeup()
        self.watch(self._wakeup_fd, self._on_child)

        #: Of the interpreter there is; None while it is replaced.
        self.relay: Relay | None = None
        #: Descriptors of the interpreter we read from: what rule 2 suspends.
        self._sources: set[int] = set()
        self._suspended = False
        self._stillborn = 0
        self._oom_kills = 0
        self._interrupted = 0  # execution to be interrupted as soon as it is in flight
        self._interrupt_deadline = 0.0
        self._parting_deadline = 0.0  # of an interpreter that has closed its channel; 0: it has not

        self._transactions = Transactions(self, self._gateway, folder)
        self._files = FileOperations(folder, self._gateway)

    def __repr__(self) -> str:
        return f"<Supervisor {self.relay!r} {self._gateway!r}{' suspended' if self._suspended else ''}>"

    def run(self) -> Lines:
        """The loop. It ends by an exception, and returns only in a new interpreter: its ends of the lines.

        Raises:
            StreamEnded: the gateway has left.
            ProtocolError: the gateway has broken the protocol.
            InterpreterBroken: interpreters die at birth.
        """
        poll, handlers = self._epoll.poll, self._handlers
        while True:
            if self.relay is None and not self._transactions.is_waking:
                lines = Lines.open(self._uid)
                pid = os.fork()
                if pid == 0:
                    self._transactions.let_go()
                    return lines
                self._welcome(pid, lines)
            for fd, _ in poll(self._wait_time_s()):
                handler = handlers.get(fd)
                if handler is not None:
                    handler()
            self._look()
            if self._files.can_go_on:
                self._files.go_on()
            if self._suspended is not (self._gateway.pending > 0):
                self._toggle_suspension()

    def _wait_time_s(self) -> float | None:
        if self._files.can_go_on:
            return 0
        if self._interrupted or self._parting_deadline:
            return _LOOK_INTERVAL_S
        deadline = self._transactions.deadline
        return None if deadline is None else max(deadline - time.monotonic(), 0.0)

    def _look(self) -> None:
        """See to what no event tells of."""
        self._transactions.look()
        if not self._interrupted and not self._parting_deadline:
            return
        now = time.monotonic()
        if self._interrupted:
            if self.relay is not None and self.relay.progress()[0] == self._interrupted:
                self.relay.interrupt()
                self._interrupted = 0
            elif now > self._interrupt_deadline:
                self._interrupted = 0
        if self._parting_deadline and now > self._parting_deadline:
            self._bury("protocol", "the interpreter closed its channel")

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        del self._handlers[fd]
        self._epoll.unregister(fd)

    # Life and death of interpreters.

    def _welcome(self, pid: int, lines: Lines) -> None:
        lines.close_interpreter_side()
        self.adopt(pid, lines)
        self._gateway.write(self._ready)

    def adopt(self, pid: int, lines: Lines) -> None:
        self.relay = relay = Relay(pid, lines, self._gateway, self._epoll)
        self._handlers[relay.channel.fd] = self._flush_channel
        self._add_source(relay.channel_fd, self._on_channel)
        for fd in relay.outputs:
            self._add_source(fd, functools.partial(self._on_output, fd))
        self._oom_kills = process.oom_kills()

    def _add_source(self, fd: int, handler: Callable[[], None]) -> None:
        self._sources.add(fd)
        self._handlers[fd] = handler
        if not self._suspended:
            self._epoll.register(fd, select.EPOLLIN)

    def _remove_source(self, fd: int) -> None:
        self._sources.remove(fd)
        del self._handlers[fd]
        if not self._suspended:
            self._epoll.unregister(fd)

    def _toggle_suspension(self) -> None:
        self._suspended = not self._suspended
        for fd in self._sources:
            if self._suspended:
                self._epoll.unregister(fd)
            else:
                self._epoll.register(fd, select.EPOLLIN)

    def _on_output(self, fd: int) -> None:
        assert self.relay is not None
        if not self.relay.relay_output(fd) and fd not in self.relay.outputs:
            self._remove_source(fd)

    def _on_channel(self) -> None:
        assert self.relay is not None
        try:
            self.relay.relay_messages()
        except ChannelClosed:
            self._remove_source(self.relay.channel_fd)
            self._parting_deadline = time.monotonic() + _PARTING_TIME_S
        except ProtocolError as error:
            self._bury("protocol", str(error))

    def _flush_channel(self) -> None:
        assert self.relay is not None
        try:
            self.relay.channel.flush()
        except StreamEnded:
            self.relay.channel.drop()

    def _on_child(self) -> None:
        os.read(self._wakeup_fd, 4096)
        for pid, status in process.reap():
            self._transactions.on_death(pid)
            if self.relay is not None and pid == self.relay.pid:
                out_of_memory = process.oom_kills() > self._oom_kills
                self._bury(*process.describe_end(status, out_of_memory=out_of_memory))

    def _bury(self, reason: str, detail: str) -> None:
        """The interpreter is dead or is to be: end all it has left, pass on its last words, tell the gateway."""
        relay = self.relay
        if relay is None:  # a reset in the round of its death, or while a copy is woken, is answered all the same
            self.tell_loss(0, 0, reason, detail)
            self._transactions.give_up_waking()
            return
        self._transactions.give_up_copying("the interpreter ended")
        self._transactions.kill_all_else()
        if reason != "protocol":
            relay.relay_rest()
        self.tell_loss(*relay.progress(), reason, detail)
        self.part_with_interpreter()
        if reason != "reset":
            self._stillborn += 1
            if self._stillborn > _MAX_STILLBORN:
                raise InterpreterBroken(f"{self._stillborn} died in a row before anything was asked of them: {detail}")

    def part_with_interpreter(self) -> None:
        """It is dead."""
        relay, self.relay = self.relay, None
        if relay is None:
            return
        for fd in list(self._sources):
            self._remove_source(fd)
        del self._handlers[relay.channel.fd]
        relay.close()
        self._interrupted = 0
        self._parting_deadline = 0.0

    def tell_loss(self, number: int, ran: int, reason: str, detail: str) -> None:
        lost = {"t": "lost", "id": number or None, "ran": ran if number else 0, "reason": reason, "detail": detail}
        self._gateway.write(encode_message(CONTROL, lost))

    # What the gateway says.

    def _on_gateway(self) -> None:
        try:
            data = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            raise StreamEnded("gateway")
        for frame in self._gateway_frames.feed(data):
            kind = kind_of(frame)
            if kind == INTERPRETER:
                self._pass_on(frame)
            elif kind == CONTROL:
                self._obey(frame[HEADER.size :])
            elif kind == FILE:
                self._files.receive(frame[HEADER.size :])
            else:
                raise ProtocolError(f"frame of kind {kind} out of place")

    def _pass_on(self, frame: bytes | bytearray) -> None:
        relay = self.relay
        if relay is None:  # it died in this round: ``lost`` tells the gateway
            return
        self._stillborn = 0
        if relay.channel.pending:
            self._bury("protocol", "the interpreter answered a message it did not read")
            return
        try:
            relay.channel.write(frame)
        except StreamEnded:  # it is dying: SIGCHLD is on its way
            relay.channel.drop()

    def _obey(self, payload: bytes | bytearray) -> None:
        order = orders.parse(payload)
        match order.get("op"):
            case "interrupt":
                self._interrupted = orders.number(order, "id")
                self._interrupt_deadline = time.monotonic() + _INTERRUPT_TIME_S
            case "reset":
                self._bury("reset", "")
            case "ping":
                pong = {"t": "pong", "id": orders.number(order, "id"), "cpu_ms": process.cpu_ms()}
                self._gateway.write(encode_message(CONTROL, pong))
            case "checkpoint":
                self._transactions.checkpoint(orders.number(order, "id"))
            case "commit":
                self._transactions.commit(orders.number(order, "id"))
            case "rollback":
                self._transactions.roll_back(orders.number(order, "id"))
            case "put" | "get" | "list" | "remove" as op:
                self._files.start(op, order)
            case op:
                raise ProtocolError(f"unknown operation {op!r}")


def _open_wakeup() -> int:
    """A descriptor that is readable when a child has ended."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return read_fd
