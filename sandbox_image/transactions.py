"""Supervisor. Checkpoints of the interpreter, and the way back to them: the gateway's three orders, in the supervisor's
loop.

                  copy is made                      rollback: all else is killed            it answers
    (nothing) ── checkpoint ──▶ standing by ── rollback ──▶ being woken ─────────────▶ it is the interpreter
        ▲                           │ commit, or it is dead      │ it dies, or is silent
        └───────────────────────────┴────────────────────────────┘

A copy that is being woken is the interpreter only when it has answered. The program may have sent it a SIGKILL that it
has not died of yet, which nothing shows; but a process that has one never runs again, and once everything else is dead
nobody is left to send another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from sandbox_image import process
from sandbox_image.outlet import Outlet
from sandbox_image.process import Lines
from sandbox_image.protocol import CONTROL, ProtocolError, encode_message
from sandbox_image.relay import Relay
from sandbox_image.standby import CopyRequest, Impossible, Standby
from sandbox_image.work_folder import WorkFolder

#: An interpreter that is idle leaves a copy of itself within this time, and a copy wakes, unless something of the
#: program holds it up.
_ANSWER_TIME_S: Final = 3.0
_KILLED: Final = "the copy of the interpreter was killed"
_SILENT: Final = "the copy of the interpreter did not answer and was killed"


class Host(Protocol):
    """The supervisor's loop. ``relay`` is that of the interpreter there is."""

    @property
    def relay(self) -> Relay | None: ...

    def watch(self, fd: int, handler: Callable[[], None]) -> None: ...

    def unwatch(self, fd: int) -> None: ...

    def part_with_interpreter(self) -> None:
        """It is dead."""

    def adopt(self, pid: int, lines: Lines) -> None:
        """This process is the interpreter from now on."""

    def tell_loss(self, number: int, ran: int, reason: str, detail: str) -> None: ...


class Transactions:
    """At most one copy: asked for, standing by, or being woken."""

    def __init__(self, host: Host, gateway: Outlet, folder: WorkFolder) -> None:
        self._host = host
        self._gateway = gateway
        self._folder = folder
        self._request: CopyRequest | None = None
        self._standby: Standby | None = None
        self._waking: int | None = None  # the order that the copy is woken for
        self._deadline = 0.0  # of what we wait for

    def __repr__(self) -> str:
        return f"<Transactions {'waking' if self.is_waking else 'asking' if self._request else ''} {self._standby!r}>"

    @property
    def is_waking(self) -> bool:
        """There is no interpreter, and none is to be made: the copy will be it."""
        return self._waking is not None

    @property
    def deadline(self) -> float | None:
        """When ``look`` is to be called; None: nothing is waited for."""
        return None if self._request is None and self._waking is None else self._deadline

    def look(self) -> None:
        """Give up what takes too long."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            if self.is_waking:
                self._fail(_SILENT)
            else:
                self.give_up_copying("the interpreter does not answer")

    # The gateway's orders.

    def checkpoint(self, number: int) -> None:
        """Raises ProtocolError: an earlier order has not been answered."""
        self._require_answered()
        self._drop()
        if self._host.relay is None:
            self._answer(number, "the interpreter ended")
            return
        try:
            request = CopyRequest(number, self._host.relay)
        except Impossible as error:
            self._answer(number, str(error))
            return
        self._request = request
        self._deadline = time.monotonic() + _ANSWER_TIME_S
        self._host.watch(request.fd, self._on_copied)

    def commit(self, number: int) -> None:
        """Raises ProtocolError: an earlier order has not been answered."""
        self._require_answered()
        self._drop()
        self._answer(number, None)

    def roll_back(self, number: int) -> None:
        """Raises ProtocolError: an earlier order has not been answered."""
        self._require_answered()
        if self._standby is None or process.has_ended(self._standby.pid):
            self._forget()
            self._answer(number, "there is no checkpoint, or its copy of the interpreter was killed")
            return
        alive = process.kill_everything_but(self._standby.pid)
        self._host.part_with_interpreter()
        self._waking = number
        self._deadline = time.monotonic() + _ANSWER_TIME_S
        self._host.watch(self._standby.fd, self._on_awake)
        if not alive or not self._standby.wake():
            self._fail(_KILLED)

    def _require_answered(self) -> None:
        if self._request is not None or self.is_waking:
            raise ProtocolError("a checkpoint or a rollback is still under way")

    # What happens to interpreters and copies.

    def kill_all_else(self) -> None:
        """Every process but the copy that stands by."""
        if self._standby is None:
            process.kill_everything()
        elif not process.kill_everything_but(self._standby.pid):
            self._forget()

    def give_up_copying(self, reason: str) -> None:
        """The interpreter will not answer any more."""
        if self._request is not None:
            request = self._request
            self._answer(self._end_request(request), reason)
            request.give_up()

    def give_up_waking(self) -> None:
        """A reset: there is to be a fresh interpreter. The loss is the caller's to tell."""
        if self.is_waking:
            self._end_waking("the interpreter was reset")

    def let_go(self) -> None:
        """In a new interpreter: the memory that a copy shares with its supervisor would bar it from checkpoints."""
        if self._standby is not None:
            self._standby.lines.progress.close()

    def on_death(self, pid: int) -> None:
        """A process of the sandbox has died and was waited for."""
        if self._standby is None or pid != self._standby.pid:
            return
        if self.is_waking:
            self._fail(_KILLED)
        else:
            self._forget()

    def _on_copied(self) -> None:
        assert self._request is not None
        try:
            standby = self._request.read(self._folder)
        except Impossible as error:
            self.give_up_copying(str(error))
        else:
            if standby is not None:
                self._standby = standby
                self._answer(self._end_request(self._request), None)

    def _end_request(self, request: CopyRequest) -> int:
        self._request = None
        self._host.unwatch(request.fd)
        return request.id

    def _on_awake(self) -> None:
        assert self._standby is not None
        assert self._waking is not None
        answered = self._standby.has_answered()
        if answered is None:
            return
        if not answered:
            self._fail(_KILLED)
            return
        standby, number = self._standby, self._waking
        self._standby, self._waking = None, None
        self._host.unwatch(standby.fd)
        error = standby.go_on()
        self._host.adopt(standby.pid, standby.lines)
        self._answer(number, error)

    def _fail(self, reason: str) -> None:
        """There is neither a copy nor an interpreter any more."""
        self._host.tell_loss(0, 0, "signal", reason)
        self._end_waking(reason)

    def _end_waking(self, reason: str) -> None:
        assert self._standby is not None
        assert self._waking is not None
        process.kill_everything()
        self._host.unwatch(self._standby.fd)
        self._forget()
        number, self._waking = self._waking, None
        self._answer(number, reason)

    def _drop(self) -> None:
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.drop()

    def _forget(self) -> None:
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.forget()

    def _answer(self, number: int, error: str | None) -> None:
        message = {"t": "snapshot", "id": number, "ok": error is None, "error": error}
        self._gateway.write(encode_message(CONTROL, message))
