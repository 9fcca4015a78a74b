"""One execution (pure): what the interpreter may say while it runs, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from app.detection.chunk import Chunk
from app.errors import RequestError
from app.sandbox.worker.messages import Display, Failure, Finished, InterpreterMessage, Lost, Output, Result
from sandbox_image.protocol import INTERPRETER, MAX_FRAME_BYTES, ProtocolError, encode_message

#: Why we stopped it. ``abandoned``: nobody waits for the answer any more.
Stop = Literal["interrupted", "timeout", "output", "abandoned"]
_LOSS_NAMES: Final = {"memory": "MemoryLimitExceeded", "exit": "InterpreterExit"}
#: Receives what running code says, in order, while it runs. Slow sinks slow the code down (back-pressure).
Sink = Callable[[Output | Display | Result], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Execution:
    """How one batch ended.

    Attributes:
        status: ``exit`` is a call of sys.exit(); ``timeout`` and ``interrupted`` were imposed from here;
            ``lost`` means that the interpreter died: the session lives on with a fresh one, its state is gone.
        ran: chunks that finished without an error.
        durations_ns: run time of each chunk that was started, as the interpreter measured it.
        failure: the error, for status ``error``; also set for ``lost`` and output limits, in the same form.
        exit_code: for ``exit``.
        state_lost: the interpreter is a fresh one: always with ``lost``; with ``timeout`` and output limits if the
            code did not stop when interrupted.
    """

    status: Literal["ok", "error", "exit", "interrupted", "timeout", "lost"]
    ran: int
    durations_ns: list[int] = field(default_factory=list)
    failure: Failure | None = None
    exit_code: int | None = None
    state_lost: bool = False


class RunningExecution:
    """The execution in flight: messages are checked by ``accept``, and ``conclude`` sums them up.

    ``budget`` is how many bytes of output it has left.
    """

    def __init__(self, id: int, indices: list[int], *, final: bool, output_limit: int) -> None:
        self.id = id
        self.final = final
        self.budget = output_limit
        self.stop: Stop | None = None  # the first reason
        self.abandoned = False
        self.lost: Lost | None = None
        self._indices = indices
        self._output_limit = output_limit
        self._failure: Failure | None = None
        self._result_seen = False
        self._finished: Finished | None = None

    def __repr__(self) -> str:
        stop = f", stopped: {self.stop}" if self.stop else ""
        return f"<RunningExecution {self.id} of chunks {self._indices}{stop}>"

    def accept(self, message: InterpreterMessage) -> None:
        """
        Raises:
            ProtocolError: not allowed here.
        """
        name = type(message).__name__
        if message.id != self.id:
            raise ProtocolError(f"{name} for execution {message.id}, {self.id} is in flight")
        if self._finished is not None:
            raise ProtocolError(f"{name} after the end of execution {self.id}")
        match message:
            case Display():
                pass
            case Result():
                self._accept_outcome()
                self._result_seen = True
            case Failure():
                self._accept_outcome()
                if self._indices and message.chunk not in self._indices:
                    raise ProtocolError(f"error in chunk {message.chunk}, which was not sent")
                self._failure = message
            case Finished():
                self._accept_end(message)
                self._finished = message

    def conclude(self) -> Execution:
        """Why we stopped it outweighs how it then ended."""
        finished, lost = self._finished, self.lost
        ran, durations = self._progress()
        state_lost = lost is not None
        if self.stop == "output":
            message = f"the code wrote more than {self._output_limit} bytes"
            return Execution(
                "error", ran, durations, self._failed("OutputLimitExceeded", message), state_lost=state_lost
            )
        if lost is not None:
            status: Literal["timeout", "lost"] = "timeout" if self.stop == "timeout" else "lost"
            return Execution(status, ran, durations, failure_of(lost, self.id, self._index_at(ran)), state_lost=True)
        assert finished is not None
        if self.stop == "timeout":
            return Execution("timeout", ran, durations, self._failure)
        if finished.status == "interrupted" and self.stop is None:
            return Execution("error", ran, durations, self._failed("KeyboardInterrupt", "the code interrupted itself"))
        failure = self._failure
        if finished.status == "exit" and finished.code:
            failure = self._failed("SystemExit", finished.evalue or str(finished.code), finished.line)
        return Execution(finished.status, ran, durations, failure, finished.code)

    def _accept_outcome(self) -> None:
        if self._result_seen or self._failure is not None:
            raise ProtocolError("more than one result or error")

    def _accept_end(self, message: Finished) -> None:
        sent = len(self._indices)
        if not 0 <= message.ran <= sent or len(message.ns) > sent:
            raise ProtocolError(f"{message.ran} of {sent} chunks ran")
        if message.status in ("ok", "error") and (message.status == "error") != (self._failure is not None):
            raise ProtocolError(f"status {message.status} does not fit what was said before")

    def _progress(self) -> tuple[int, list[int]]:
        if self._finished is not None:
            return self._finished.ran, [max(ns, 0) for ns in self._finished.ns]
        if self.lost is None or self.lost.id != self.id:
            return 0, []
        # This count comes from memory that the interpreter could write to.
        return min(max(self.lost.ran, 0), len(self._indices)), []

    def _failed(self, ename: str, evalue: str, line: int | None = None) -> Failure:
        chunk = self._index_at(self._progress()[0])
        return Failure(id=self.id, chunk=chunk, ename=ename, evalue=evalue, traceback="", line=line)

    def _index_at(self, position: int) -> int:
        """Chunk at a position of the batch; the last one if it has fewer."""
        return self._indices[min(position, len(self._indices) - 1)] if self._indices else 0


def failure_of(lost: Lost, id: int, chunk: int) -> Failure:
    """The death of an interpreter in the form of an error of the code."""
    return Failure(
        id=id,
        chunk=chunk,
        ename=_LOSS_NAMES.get(lost.reason, "InterpreterKilled"),
        evalue=f"{lost.detail or lost.reason}; the state of the session is lost",
        traceback="",
    )


def encode_execution(
    id: int, chunks: Sequence[Chunk], *, block: str, final: bool, language: str, cut: bool, trial: bool
) -> bytes:
    """The frame that starts an execution.

    Raises:
        RequestError: the code does not fit into one frame.
    """
    message: dict[str, Any] = {
        "op": "execute",
        "id": id,
        "block": block,
        "language": language,
        "chunks": [[chunk.index, chunk.line, chunk.column, chunk.source] for chunk in chunks],
        "final": final,
    }
    if cut:
        message["cut"] = True
    if trial:
        message["trial"] = True
    frame = encode_message(INTERPRETER, message)
    if len(frame) > MAX_FRAME_BYTES:
        raise RequestError("the code is too large", code="code_too_large", status=413)
    return frame
