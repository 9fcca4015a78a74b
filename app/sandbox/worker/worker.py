"""One live sandbox as the gateway sees it.

Theory of operation
-------------------
The supervisor in the sandbox speaks ``sandbox_image/protocol.py`` to us over a ``Channel``. Its frames arrive in a
plain callback. ``states.py`` says which frame is allowed in which state, and what it leads to. Anything else (bad JSON,
a foreign id, a message that is not due) ends the sandbox. ``life.py`` has resets, timers and death. The questions to
the supervisor are in ``supervisor_calls.py``, and how one is asked is in ``inquiry.py``.

Rules.
1. At most one execution exists. It ends in exactly one place, ``_end_execution``, which puts ``None`` behind its last
   output in the outbox. Output that comes later is not part of it.
2. Output goes to the outbox, and ``execute`` empties that into the sink. Above HIGH_WATER we stop reading, so the
   kernel stops the writer. Some states must hear something to go on: stopping, resetting, recovering, file operations.
   There we read on and drop output instead. Memory is bounded either way.
3. Output between executions waits in the same outbox for the next execution, up to the output limit: a Jupyter kernel
   cannot be stopped by not reading. Displays between executions are lost. A flood of them ends the sandbox, since each
   is decoded.
4. A cancelled call is over after grace_s + reset_s at the latest, which is less than a second; otherwise a new
   interpreter gets ready_s.
5. An interpreter that dies between executions is told of by the next one, unless it had run nothing yet: then nothing
   is lost with it.
6. An interpreter may die while we send it an execution. Then we cannot know whether the execution went to the dead one
   or to the next one, so we reset. The session is lost anyway, and after a reset nothing is known to run in it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.deadline import Deadline
from app.detection.chunk import Chunk
from app.errors import SessionBusy
from app.sandbox.worker.decoding import decode_interpreter, decode_supervisor
from app.sandbox.worker.execution import Execution, RunningExecution, Sink, Stop, encode_execution, failure_of
from app.sandbox.worker.inquiry import Inquiry
from app.sandbox.worker.life import Life
from app.sandbox.worker.messages import (
    Display,
    Failure,
    Finished,
    Lost,
    Output,
    Ready,
    Result,
    Step,
)
from app.sandbox.worker.outbox import HIGH_WATER, LOW_WATER, Outbox
from app.sandbox.worker.states import HURRIED, State
from app.sandbox.worker.supervisor_calls import Asked, SupervisorCalls
from app.sandbox.worker.transport import Channel
from sandbox_image.protocol import (
    CONTROL,
    FILE,
    INTERPRETER,
    MAX_DATA_BYTES,
    STDERR,
    STDOUT,
    ProtocolError,
)


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    state: str
    executions: int
    interpreters_lost: int
    output_bytes: int
    dropped_bytes: int
    buffered_bytes: int


class Worker(Life, SupervisorCalls):
    """One sandbox. Implements ``Session``. ``kill`` ends its processes and removes what is left of it."""

    def __init__(
        self,
        channel: Channel,
        *,
        id: str,
        kill: Callable[[], Awaitable[None]],
        output_limit_bytes: int = 32 * 1024 * 1024,
        grace_s: float = 0.5,
        reset_s: float = 0.4,
        ready_s: float = 10.0,
        answer_s: float = 10.0,
    ) -> None:
        super().__init__(channel, id=id, kill=kill, reset_s=reset_s, ready_s=ready_s)
        self._output_limit_bytes = output_limit_bytes
        self._grace_s = grace_s
        self._ids = itertools.count(1)
        self._execution: RunningExecution | None = None
        self._execution_over = asyncio.Event()
        self._deadline = Deadline(functools.partial(self._stop, "timeout"))  # of the execution
        self._outbox = Outbox()
        self._inquiry = Inquiry(
            channel, answer_s=answer_s, leave_s=grace_s, on_change=self._regulate_reading, fail=self._die
        )
        self._fresh = True  # the interpreter has run nothing
        self._unreported: Lost | None = None
        self._late_budget = output_limit_bytes  # of displays that come behind their execution, until the next one
        self._executions = self._losses = self._output_bytes = self._dropped_bytes = 0
        channel.attach(self._on_frame, self._die)

    def __repr__(self) -> str:
        running = f" execution {self._execution.id}" if self._execution else ""
        why = f" ({self._death})" if self._death else ""
        return f"<Worker {self._id} {self._state.value}{running}{why}>"

    def statistics(self) -> WorkerStatistics:
        return WorkerStatistics(
            state=self._state.value,
            executions=self._executions,
            interpreters_lost=self._losses,
            output_bytes=self._output_bytes,
            dropped_bytes=self._dropped_bytes,
            buffered_bytes=self._outbox.weight,
        )

    # ------------------------------------------------------------- execution

    async def execute(
        self,
        chunks: Sequence[Chunk],
        *,
        block: str,
        final: bool,
        sink: Sink,
        timeout_s: float | None,
        language: str = "python",
        cut: bool = False,
        trial: bool = False,
    ) -> Execution:
        """See ``Session.execute``. A ``trial`` runs code of ours, before any of a program.

        An interpreter that died between executions is reported by the next one: ``lost``, with nothing run.

        Raises:
            SandboxGone: the sandbox is dead.
            SessionBusy: it is executing something else, or moving a file.
        """
        await self._wait_free()
        if self._unreported is not None:
            lost, self._unreported = self._unreported, None
            failure = failure_of(lost, 0, chunks[0].index if chunks else 0)
            return Execution("lost", 0, failure=failure, state_lost=True)
        execution = self._begin_execution(chunks, block, final, language, timeout_s, cut, trial)
        delivered = False
        try:
            await self._deliver(sink)
            delivered = True
        finally:
            if not delivered:  # the call was cancelled or the sink failed: the code must not go on unseen
                await self._abandon()
        self._check_alive()
        return execution.conclude()

    async def interrupt(self) -> None:
        """See ``Session.interrupt``. Returns when the execution is over."""
        if self._execution is not None:
            self._stop("interrupted")
            await self._execution_over.wait()

    def _begin_execution(
        self,
        chunks: Sequence[Chunk],
        block: str,
        final: bool,
        language: str,
        timeout_s: float | None,
        cut: bool,
        trial: bool,
    ) -> RunningExecution:
        execution = RunningExecution(
            next(self._ids), [chunk.index for chunk in chunks], final=final, output_limit=self._output_limit_bytes
        )
        frame = encode_execution(
            execution.id, chunks, block=block, final=final, language=language, cut=cut, trial=trial
        )
        self._execution = execution
        self._late_budget = self._output_limit_bytes
        self._fresh = False
        self._execution_over.clear()
        self._executions += 1
        self._enter(State.EXECUTING)
        if timeout_s is not None:
            self._deadline.set(timeout_s)
        self._channel.send(frame)
        return execution

    async def _deliver(self, sink: Sink) -> None:
        """Empty the outbox into the sink, up to the end of the execution."""
        while (message := await self._outbox.get()) is not None:
            self._regulate_reading()
            await sink(message)

    async def _abandon(self) -> None:
        """Nobody listens any more. Bounded by the escalation's timers; a second cancellation kills the sandbox."""
        self._stop("abandoned")
        try:
            await self._deliver(_discard)
        except asyncio.CancelledError:
            self._die("abandoned while it was being stopped")
            raise

    def _stop(self, why: Stop) -> None:
        execution = self._execution
        if execution is None:
            return
        execution.stop = execution.stop or why
        execution.abandoned = execution.abandoned or why == "abandoned"
        if self._state is State.EXECUTING:
            self._enter(State.STOPPING)
            self._send_control({"op": "interrupt", "id": execution.id})
            self._arm(self._grace_s, self._force_reset)
        elif self._state in (State.RESETTING, State.RECOVERING) and execution.abandoned:
            self._arm(self._reset_s, self._die, "no new interpreter in time")

    def _is_abandoned(self) -> bool:
        return self._execution is not None and self._execution.abandoned

    def _on_change(self) -> None:
        self._regulate_reading()

    def _settle(self) -> None:
        self._end_execution()
        if self._state is State.DEAD:
            self._deadline.close()
            self._inquiry.give_up()

    def _end_execution(self) -> None:
        execution, self._execution = self._execution, None
        if execution is None:
            return
        self._deadline.lift()
        if execution.final:
            self._outbox.flush()
        self._outbox.put_nowait(None)
        self._execution_over.set()

    # ------------------------------------------- questions to the supervisor

    async def rollback(self) -> str | None:
        """See ``Session.rollback``."""
        reason = await super().rollback()
        if reason is None:  # an interpreter that died since is of no interest any more
            self._unreported, self._fresh = None, False
        return reason

    async def _ask(self, message: dict[str, Any], expected: type[Asked], **pieces: Any) -> Asked:
        """See ``Inquiry.ask``."""
        await self._wait_free()
        answer = await self._inquiry.ask(next(self._ids), message, expected, **pieces)
        self._check_alive()
        assert isinstance(answer, expected)
        return answer

    # ---------------------------------------------------- what the sandbox says

    def _on_frame(self, kind: int, payload: bytes) -> None:
        try:
            if kind in (STDOUT, STDERR):
                self._on_output(kind, payload)
            elif kind == INTERPRETER:
                self._on_interpreter(payload)
            elif kind == CONTROL:
                self._on_supervisor(payload)
            elif kind == FILE:
                self._inquiry.accept_data(payload)
            else:
                raise ProtocolError(f"frame of unknown kind {kind}")
        except ProtocolError as error:
            self._die(f"protocol violation: {error}")

    def _on_output(self, kind: int, payload: bytes) -> None:
        if len(payload) > MAX_DATA_BYTES or self._state is State.STARTING:
            raise ProtocolError(f"{len(payload)} bytes of output in state {self._state.value}")
        self._output_bytes += len(payload)
        payload = payload[: self._allow(len(payload))]
        self._outbox.put_output(kind, payload)
        self._regulate_reading()

    def _on_interpreter(self, payload: bytes) -> None:
        message = decode_interpreter(payload)
        execution = self._execution
        if isinstance(message, Display) and message.id > 0 and (execution is None or message.id < execution.id):
            self._accept_late(len(payload))  # shown by a thread that outlived its execution
            return
        if execution is None:
            raise ProtocolError(f"{type(message).__name__} while nothing runs")
        execution.accept(message)
        match message:
            case Finished():
                self._follow("done")
            case Failure():
                self._follow("say")
            case Display() | Result():
                self._follow("say")
                if self._allow(len(payload)) == len(payload):
                    self._outbox.put_nowait(message, len(payload))
                    self._regulate_reading()

    def _accept_late(self, size: int) -> None:
        self._dropped_bytes += size
        self._late_budget -= size
        if self._late_budget < 0:
            raise ProtocolError(f"{self._output_limit_bytes} bytes of displays of executions that are over")

    def _on_supervisor(self, payload: bytes) -> None:
        message = decode_supervisor(payload)
        if isinstance(message, Step):
            self._on_step(message)
        elif isinstance(message, Ready):
            self._on_ready(message)
        elif isinstance(message, Lost):
            self._on_lost(message)
        else:
            self._inquiry.accept_answer(message)

    def _on_lost(self, lost: Lost) -> None:
        execution, before = self._execution, self._state
        if execution is not None:
            execution.lost = execution.lost or lost
        elif before is State.IDLE and not self._fresh:
            self._unreported = lost
        self._fresh = True
        self._losses += 1
        self._outbox.flush()
        if before is State.RESETTING:
            self._follow("reset" if lost.reason == "reset" else "lost")
        else:
            self._follow("lost" if execution is None or lost.id == execution.id else "lost before")
            if self._state is State.RESETTING:
                self._send_control({"op": "reset"})
        self._expect_interpreter()

    # --------------------------------------------------------------- the rest

    def _allow(self, size: int) -> int:
        """How many of ``size`` bytes of output are kept. Stops the execution that is over its limit."""
        execution, allowed = self._execution, size
        if self._outbox.weight > HIGH_WATER and (self._state in HURRIED or self._inquiry.open is not None):
            allowed = 0
        elif execution is not None:
            allowed = min(size, execution.budget)
            execution.budget -= allowed
            if allowed < size:
                execution.budget = 0
                self._stop("output")
        else:
            allowed = min(size, max(self._output_limit_bytes - self._outbox.weight, 0))
        self._dropped_bytes += size - allowed
        return allowed

    def _regulate_reading(self) -> None:
        waiting = self._outbox.weight if self._inquiry.open is None else self._inquiry.open.weight
        if waiting > HIGH_WATER and self._state not in HURRIED:
            self._channel.pause_reading()
        elif waiting <= LOW_WATER or self._state in HURRIED:
            self._channel.resume_reading()

    async def _wait_free(self) -> None:
        if self._execution is None and self._state in (State.RESETTING, State.RECOVERING):
            await self.wait_ready(self._ready_s)
        self._check_alive()
        if self._execution is not None or self._inquiry.open is not None:
            raise SessionBusy(f"session {self._id} is busy")


async def _discard(message: Output | Display | Result) -> None:
    """Sink of an execution that nobody listens to."""
