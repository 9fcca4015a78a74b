"""Supervisor. The supervisor's side of a transaction: the copy of the interpreter that stands by, and how it came to
be.

    ask interpreter ─▶ it forks the copy, tells its pid over the copy's channel ─▶ files are copied ─▶ standing by
                    └▶ it refuses                                              └▶ too many: the copy is dropped

A copy that is dropped sees the end of its channel and leaves; it is killed all the same. One that is woken says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import Final

from sandbox_image import process
from sandbox_image.process import Lines
from sandbox_image.protocol import INTERPRETER, PROGRESS, FrameDecoder, ProtocolError, encode_message
from sandbox_image.relay import Relay
from sandbox_image.snapshot import Snapshot, TooMuch
from sandbox_image.work_folder import WorkFolder

_REQUEST: Final = encode_message(INTERPRETER, {"op": "copy"})
_WAKE: Final = encode_message(INTERPRETER, {"op": "wake"})
_ANSWER_BYTES: Final = 4096


class Impossible(Exception):
    """There is no copy; the message says why, for the client."""


class CopyRequest:
    """The interpreter was asked for a copy. Its answer is as untrusted as all it says."""

    def __init__(self, id: int, relay: Relay) -> None:
        """
        Raises:
            Impossible: it cannot be asked.
        """
        self.id = id
        self._interpreter = relay.pid
        self._decoder = FrameDecoder(_ANSWER_BYTES)
        try:
            self._lines = relay.lines.for_copy()
        except OSError as error:
            raise Impossible(error.strerror or "I/O error") from error
        self.fd, theirs = self._lines.channel
        asked = relay.send_descriptor(_REQUEST, theirs)
        os.close(theirs)
        if not asked:
            self.give_up()
            raise Impossible("the interpreter is busy")

    def give_up(self) -> None:
        self._lines.close_supervisor_side()

    def read(self, folder: WorkFolder) -> Standby | None:
        """What the interpreter has answered; None while that is not all.

        Raises:
            Impossible: there is no copy; ``give_up`` is to be called.
        """
        try:
            data = os.read(self.fd, _ANSWER_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            raise Impossible("the interpreter ended")
        try:
            frames = self._decoder.feed(data)
            if not frames:
                return None
            answer = json.loads(frames[0][1])
            if answer["t"] == "refused":
                raise Impossible(str(answer["reason"]))
            pid = int(answer["pid"])
        except (ProtocolError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            raise Impossible("the interpreter's answer is not understood") from None
        return self._stand_by(pid, folder)

    def _stand_by(self, pid: int, folder: WorkFolder) -> Standby:
        children = set(process.children())
        if pid not in children or pid == self._interpreter:
            raise Impossible("the copy of the interpreter was killed")
        try:
            if children != {pid, self._interpreter}:
                raise Impossible("processes that the program left behind are running")
            return Standby(pid, self._lines, folder.snapshot())
        except BaseException as error:
            _end(pid)
            if isinstance(error, TooMuch):
                raise Impossible(str(error)) from None
            if isinstance(error, OSError):
                raise Impossible(f"the work folder cannot be copied: {error.strerror or error}") from error
            raise


class Standby:
    """A copy that waits, with the files of its time."""

    def __init__(self, pid: int, lines: Lines, snapshot: Snapshot) -> None:
        self.pid = pid
        self.lines = lines
        self.fd = lines.channel[0]
        self._snapshot = snapshot
        self._decoder = FrameDecoder(_ANSWER_BYTES)

    def __repr__(self) -> str:
        return f"<Standby process {self.pid}, {self._snapshot!r}>"

    def wake(self) -> bool:
        """Ask it whether it is alive. False: it is not."""
        try:
            return os.write(self.fd, _WAKE) == len(_WAKE)
        except OSError:
            return False

    def has_answered(self) -> bool | None:
        """Whatever it says, it is alive. None: it has said nothing yet. False: it is not alive."""
        try:
            data = os.read(self.fd, _ANSWER_BYTES)
            return bool(self._decoder.feed(data)) or None if data else False
        except BlockingIOError:
            return None
        except (ConnectionError, ProtocolError):
            return False

    def go_on(self) -> str | None:
        """Everything else that ran is dead: put the files back, forget what it wrote last. Returns what went wrong."""
        for fd in (self.lines.stdout[0], self.lines.stderr[0]):
            with contextlib.suppress(BlockingIOError):
                while os.read(fd, 65536):
                    pass
        PROGRESS.pack_into(self.lines.progress, 0, 0, 0)
        try:
            self._snapshot.restore()
        except (OSError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"the files of the work folder could not be put back, the variables were: {reason}"
        finally:
            self._snapshot.close()
        return None

    def drop(self) -> None:
        """To be called while it has not been waited for."""
        _end(self.pid)
        self.forget()

    def forget(self) -> None:
        """It is dead."""
        self._snapshot.close()
        self.lines.close_supervisor_side()


def _end(pid: int) -> None:
    """Of a child that has not been waited for. Its memory is free when this returns."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
