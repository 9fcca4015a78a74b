"""The loop of the first process in a sandbox: one gateway, one interpreter, and the bytes between them.

Rules.
1. A frame of the interpreter is passed on when it is whole, so that one it never finishes holds up nobody, and after
   all output that was written before it (the interpreter flushes before it speaks).
2. While the gateway does not take what it was sent, neither output nor frames of the interpreter are read: user code
   then blocks in write(2). The gateway itself is always read: it must be able to interrupt and reset.
3. An interpreter dies in one place, ``_bury``, with everything it has started; the next is born in one place, at the
   top of the loop. So events of one turn never meet a descriptor that was closed and opened anew.
4. A copy of the interpreter that stands by (a checkpoint) survives the interpreter, however that dies. A rollback makes
   it the interpreter, in the place of whichever is there.
5. A broken rule of the protocol costs the interpreter its life if it broke it, and the sandbox if the gateway did.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from sandbox_image import process
from sandbox_image.files import Job, Refused, Reply, Upload, WorkFolder, explain
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
    encode_frame,
    encode_message,
)
from sandbox_image.relay import ChannelClosed, Relay
from sandbox_image.standby import CopyRequest, Impossible, Standby

_READ_BYTES: Final = 128 * 1024
#: An interpreter that has closed its channel ends by itself within this time, or it is killed.
_PARTING_TIME_S: Final = 0.25
#: An interrupt may overtake its execution, which the interpreter is still reading: it is good for this time.
_INTERRUPT_TIME_S: Final = 1.0
#: How often the two conditions above, of which no event tells, are looked at while one of them lasts.
_LOOK_INTERVAL_S: Final = 0.001
#: An interpreter that is idle leaves a copy of itself within this time, unless something of the program holds it up.
_COPY_TIME_S: Final = 3.0
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
        self._folder = folder
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
        #: By descriptor. An event of a descriptor that is not here any more was dealt with in the same turn.
        self._handlers: dict[int, Callable[[], None]] = {}
        self._read_fd = read_fd
        self._gateway = Outlet(write_fd, self._epoll)
        self._gateway_frames = FrameCutter()
        self._handlers[write_fd] = self._gateway.flush
        self._watch(read_fd, self._on_gateway)
        self._wakeup_fd = _open_wakeup()
        self._watch(self._wakeup_fd, self._on_child)

        self._relay: Relay | None = None
        #: Descriptors of the interpreter we read from: what rule 2 suspends.
        self._sources: set[int] = set()
        self._suspended = False
        self._stillborn = 0
        self._oom_kills = 0
        self._interrupted = 0  # execution to be interrupted as soon as it is in flight
        self._interrupt_deadline = 0.0
        self._parting_deadline = 0.0  # of an interpreter that has closed its channel; 0: it has not

        self._copying: CopyRequest | None = None
        self._standby: Standby | None = None

        self._job: Job | None = None
        self._upload: Upload | None = None
        self._file_id = 0

    def __repr__(self) -> str:
        return f"<Supervisor {self._relay!r} {self._gateway!r}{' suspended' if self._suspended else ''}>"

    def run(self) -> Lines:
        """The loop. It ends by an exception, and returns only in a new interpreter: its ends of the lines.

        Raises:
            StreamEnded: the gateway has left.
            ProtocolError: the gateway has broken the protocol.
            InterpreterBroken: interpreters die at birth.
        """
        poll, handlers = self._epoll.poll, self._handlers
        while True:
            if self._relay is None:
                lines = Lines.open(self._uid)
                pid = os.fork()
                if pid == 0:
                    return lines
                self._welcome(pid, lines)
            for fd, _ in poll(self._wait_time_s()):
                handler = handlers.get(fd)
                if handler is not None:
                    handler()
            if self._interrupted or self._parting_deadline or self._copying:
                self._look()
            if self._job is not None and not self._gateway.pending:
                self._continue(self._job)
            if self._suspended is not (self._gateway.pending > 0):
                self._toggle_suspension()

    def _wait_time_s(self) -> float | None:
        if self._job is not None and not self._gateway.pending:
            return 0
        if self._interrupted or self._parting_deadline:
            return _LOOK_INTERVAL_S
        return _COPY_TIME_S if self._copying else None

    def _look(self) -> None:
        now = time.monotonic()
        if self._interrupted:
            if self._relay is not None and self._relay.progress()[0] == self._interrupted:
                self._relay.interrupt()
                self._interrupted = 0
            elif now > self._interrupt_deadline:
                self._interrupted = 0
        if self._parting_deadline and now > self._parting_deadline:
            self._bury("protocol", "the interpreter closed its channel")
        if self._copying and now > self._copying.deadline:
            self._end_copying("the interpreter does not answer")

    def _watch(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    # Life and death of interpreters.

    def _welcome(self, pid: int, lines: Lines) -> None:
        lines.close_interpreter_side()
        self._adopt(pid, lines)
        self._gateway.write(self._ready)

    def _adopt(self, pid: int, lines: Lines) -> None:
        self._relay = relay = Relay(pid, lines, self._gateway, self._epoll)
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
        assert self._relay is not None
        if not self._relay.relay_output(fd) and fd not in self._relay.outputs:
            self._remove_source(fd)

    def _on_channel(self) -> None:
        assert self._relay is not None
        try:
            self._relay.relay_messages()
        except ChannelClosed:
            self._remove_source(self._relay.channel_fd)
            self._parting_deadline = time.monotonic() + _PARTING_TIME_S
        except ProtocolError as error:
            self._bury("protocol", str(error))

    def _flush_channel(self) -> None:
        assert self._relay is not None
        try:
            self._relay.channel.flush()
        except StreamEnded:
            self._relay.channel.drop()

    def _on_child(self) -> None:
        os.read(self._wakeup_fd, 4096)
        for pid, status in process.reap():
            if self._standby is not None and pid == self._standby.pid:
                self._forget_standby()
            if self._relay is not None and pid == self._relay.pid:
                out_of_memory = process.oom_kills() > self._oom_kills
                self._bury(*process.describe_end(status, out_of_memory=out_of_memory))

    def _bury(self, reason: str, detail: str) -> None:
        """The interpreter is dead or is to be: end all it has left, pass on its last words, tell the gateway."""
        relay, self._relay = self._relay, None
        if relay is None:  # a reset in the turn of its death is answered all the same
            self._tell_loss(0, 0, reason, detail)
            return
        self._end_copying("the interpreter ended")
        self._kill_all_that_runs()
        if reason != "protocol":
            relay.relay_rest()
        self._tell_loss(*relay.progress(), reason, detail)
        self._part_with(relay)
        if reason != "reset":
            self._stillborn += 1
            if self._stillborn > _MAX_STILLBORN:
                raise InterpreterBroken(f"{self._stillborn} died in a row before anything was asked of them: {detail}")

    def _kill_all_that_runs(self) -> None:
        if self._standby is None:
            process.kill_everything()
        elif not process.kill_everything_but(self._standby.pid):
            self._forget_standby()

    def _part_with(self, relay: Relay) -> None:
        for fd in list(self._sources):
            self._remove_source(fd)
        del self._handlers[relay.channel.fd]
        relay.close()
        self._interrupted = 0
        self._parting_deadline = 0.0

    def _tell_loss(self, number: int, ran: int, reason: str, detail: str) -> None:
        lost = {"t": "lost", "id": number or None, "ran": ran if number else 0, "reason": reason, "detail": detail}
        self._gateway.write(encode_message(CONTROL, lost))

    # Transactions.

    def _start_copying(self, number: int) -> None:
        self._commit()
        if self._copying is not None:
            raise ProtocolError("a checkpoint is still being made")
        if self._relay is None:
            self._answer_transaction(number, "the interpreter ended")
            return
        try:
            request = CopyRequest(number, self._relay, time.monotonic() + _COPY_TIME_S)
        except Impossible as error:
            self._answer_transaction(number, str(error))
            return
        self._copying = request
        self._watch(request.fd, self._on_copy_answer)

    def _on_copy_answer(self) -> None:
        assert self._copying is not None
        try:
            standby = self._copying.read(self._folder)
        except Impossible as error:
            self._end_copying(str(error))
        else:
            if standby is not None:
                self._standby = standby
                self._answer_transaction(self._end_watching(self._copying), None)

    def _end_copying(self, reason: str) -> None:
        if self._copying is not None:
            request = self._copying
            self._answer_transaction(self._end_watching(request), reason)
            request.give_up()

    def _end_watching(self, request: CopyRequest) -> int:
        self._copying = None
        del self._handlers[request.fd]
        self._epoll.unregister(request.fd)
        return request.id

    def _commit(self) -> None:
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.drop()

    def _forget_standby(self) -> None:
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.forget()

    def _roll_back(self) -> str | None:
        """Returns why that was not possible."""
        if self._standby is None or process.has_ended(self._standby.pid):
            self._forget_standby()
            return "there is no checkpoint, or its copy of the interpreter was killed"
        self._kill_all_that_runs()
        relay, self._relay = self._relay, None
        if relay is not None:
            self._part_with(relay)
        standby, self._standby = self._standby, None
        if standby is None:
            self._tell_loss(0, 0, "signal", "the copy of the interpreter was killed")
            return "the copy of the interpreter was killed"
        self._adopt(standby.pid, standby.lines)
        return standby.go_on()

    def _answer_transaction(self, number: int, error: str | None) -> None:
        message = {"t": "snapshot", "id": number, "ok": error is None, "error": error}
        self._gateway.write(encode_message(CONTROL, message))

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
            elif kind == FILE and self._upload is not None:
                self._upload.feed(frame[HEADER.size :])
                self._end_upload(self._upload)
            else:
                raise ProtocolError(f"frame of kind {kind} out of place")

    def _pass_on(self, frame: bytes | bytearray) -> None:
        relay = self._relay
        if relay is None:  # it died in this turn: ``lost`` tells the gateway
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
        try:
            message = json.loads(payload)
        except ValueError as error:
            raise ProtocolError(f"not JSON: {error}") from error
        if not isinstance(message, dict):
            raise ProtocolError("not a message")
        match message.get("op"):
            case "interrupt":
                self._interrupted = _number(message, "id")
                self._interrupt_deadline = time.monotonic() + _INTERRUPT_TIME_S
            case "reset":
                self._bury("reset", "")
            case "ping":
                self._gateway.write(encode_message(CONTROL, {"t": "pong", "id": _number(message, "id")}))
            case "checkpoint":
                self._start_copying(_number(message, "id"))
            case "commit":
                self._commit()
                self._answer_transaction(_number(message, "id"), None)
            case "rollback":
                self._answer_transaction(_number(message, "id"), self._roll_back())
            case "put" | "get" | "list" | "remove" as op:
                self._start_file_operation(op, message)
            case op:
                raise ProtocolError(f"unknown operation {op!r}")

    # File operations, one at a time.

    def _start_file_operation(self, op: str, message: dict[str, Any]) -> None:
        if self._job is not None or self._upload is not None:
            raise ProtocolError("a file operation is still running")
        self._file_id = _number(message, "id")
        match op:
            case "put":
                self._upload = Upload(self._folder, _text(message, "path"), _number(message, "size"))
                self._end_upload(self._upload)
            case "get":
                self._job = self._folder.get(_text(message, "path"), _number(message, "limit"))
            case "list":
                self._job = self._folder.list(_number(message, "limit"))
            case "remove":
                self._job = self._folder.remove(_text(message, "path"))

    def _end_upload(self, upload: Upload) -> None:
        if not upload.remaining:
            self._upload = None
            self._answer(upload.finish())

    def _continue(self, job: Job) -> None:
        try:
            piece = next(job)
        except StopIteration as end:
            self._answer(end.value)
        except (OSError, Refused) as error:
            self._answer({"ok": False, "error": explain(error)})
        else:
            if piece:
                self._gateway.write(encode_frame(FILE, piece))
            return
        self._job = None

    def _answer(self, reply: Reply) -> None:
        blank = {"t": "file", "id": self._file_id, "ok": True, "error": None, "size": 0}
        self._gateway.write(encode_message(CONTROL, {**blank, "entries": None, "truncated": False, **reply}))


def _open_wakeup() -> int:
    """A descriptor that is readable when a child has ended."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return read_fd


def _number(message: dict[str, Any], key: str) -> int:
    value = message.get(key)
    if type(value) is not int or value < 0:
        raise ProtocolError(f"{key!r} is not a number of at least 0")
    return value


def _text(message: dict[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"{key!r} is not text")
    return value
