"""One live sandbox as the gateway sees it.

Theory of operation
-------------------
The supervisor in the sandbox speaks ``sandbox_image/protocol.py`` to us over a ``Channel``. Its frames arrive in a
plain callback; ``TRANSITIONS`` says which of them is allowed in which state and what it leads to. Everything else a
sandbox may send (bad JSON, a foreign id, a message out of turn) ends it: ``dead`` is final, and nothing outside this
file assigns ``state``.

    starting ──ready──▶ idle ──execute──▶ executing ──done──▶ idle
                         │                    │ stop (timeout, output limit, interrupt, cancelled call)
                         │                    ▼
                         │                stopping ──done──▶ idle
                         │                    │ not ended after grace_s
                         ▼                    ▼
      reset()  ───▶  resetting  ◀─────────────┘      (``reset`` was sent; whatever is said before its ``lost`` is late)
                         │ lost
                         ▼
                     recovering ──ready──▶ idle      (also from idle, executing, stopping, when the interpreter dies)

    any state ── violation, end of stream, or nothing heard when a timer of stopping/resetting/recovering fires ──▶ dead

Rules.
1. At most one *turn* (execution) exists. It ends in exactly one place, ``_end_turn``, which puts ``None`` behind its
   last output in the outbox: output that comes later is not part of it.
2. Output goes to the outbox, which ``execute`` empties into the sink. Above HIGH_WATER we stop reading, so the kernel
   stops the writer. Where we have to hear something to go on (stopping, resetting, recovering, file operations), we
   read on and drop output instead; memory stays bounded either way.
3. Output between executions waits in the same outbox for the next execution.
4. Timers, not tasks, drive the escalation interrupt -> reset -> dead. It is therefore independent of slow sinks and of
   cancellation. A cancelled call is over after grace_s + reset_s at the latest, which is less than a second; otherwise
   a new interpreter gets ready_s.
5. Death only closes the stream and tells the owner (``on_death``). The owner calls ``close()``, which kills.
6. An interpreter may die in the moment in which we send it an execution. We cannot know then whether the execution went
   to the dead one or to the next one, so we reset: the session is lost anyway, and then it is known to stand still.
"""

from __future__ import annotations

import asyncio
import codecs
import enum
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from app.detection.chunk import Chunk
from app.errors import RequestError, SandboxGone, SandboxStartError, SessionBusy
from app.sandbox.decoding import decode_interpreter, decode_supervisor
from app.sandbox.mailbox import Mailbox
from app.sandbox.messages import Display, Failure, FileReply, Finished, Lost, Output, Pong, Ready, Result, Snapshot
from app.sandbox.question import Answer, Question, send_file
from app.sandbox.session import Execution, Sink
from app.sandbox.transport import Channel
from app.sandbox.turn import Stop, Turn, failure_of
from sandbox_image.protocol import (
    CONTROL,
    FILE,
    INTERPRETER,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    STDERR,
    STDOUT,
    ProtocolError,
    encode_message,
)

#: Reading stops when this much waits for the sink. A few reads of asyncio (256 KiB), so that a fast sink never waits.
HIGH_WATER: Final = 1024 * 1024
LOW_WATER: Final = 256 * 1024


class State(enum.Enum):
    STARTING = "starting"
    IDLE = "idle"
    EXECUTING = "executing"
    STOPPING = "stopping"
    RESETTING = "resetting"
    RECOVERING = "recovering"
    DEAD = "dead"


#: (state, what the sandbox says) -> next state. Whatever is not here is a violation. "reset" is a ``lost`` with that
#: reason; "lost before" one that does not name the execution in flight (rule 6).
TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.STARTING, "ready"): State.IDLE,
    (State.IDLE, "lost"): State.RECOVERING,
    (State.EXECUTING, "say"): State.EXECUTING,
    (State.EXECUTING, "done"): State.IDLE,
    (State.EXECUTING, "lost"): State.RECOVERING,
    (State.EXECUTING, "lost before"): State.RESETTING,
    (State.STOPPING, "say"): State.STOPPING,
    (State.STOPPING, "done"): State.IDLE,
    (State.STOPPING, "lost"): State.RECOVERING,
    (State.STOPPING, "lost before"): State.RESETTING,
    (State.RESETTING, "say"): State.RESETTING,
    (State.RESETTING, "done"): State.RESETTING,
    (State.RESETTING, "lost"): State.RESETTING,
    (State.RESETTING, "ready"): State.RESETTING,
    (State.RESETTING, "reset"): State.RECOVERING,
    (State.RECOVERING, "ready"): State.IDLE,
}
#: States in which something must be heard for anything to go on.
HURRIED: Final = frozenset({State.STARTING, State.STOPPING, State.RESETTING, State.RECOVERING})
_STREAM: Final[dict[int, Literal["stdout", "stderr"]]] = {STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    state: str
    executions: int
    interpreters_lost: int
    output_bytes: int
    dropped_bytes: int
    buffered_bytes: int


class Worker:
    """One sandbox. Implements ``Session``.

    ``kill`` ends its processes and removes what is left of it; ``close()`` calls it. ``on_death`` is called in the
    moment of death, from a callback: it must not wait.
    """

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
        self.on_death: Callable[[Worker], None] | None = None
        self._id = id
        self._channel = channel
        self._kill = kill
        self._output_limit_bytes = output_limit_bytes
        self._grace_s, self._reset_s, self._ready_s, self._answer_s = grace_s, reset_s, ready_s, answer_s
        self._state = State.STARTING
        self._ready: Ready | None = None
        self._has_interpreter = asyncio.Event()
        self._ids = itertools.count(1)
        self._turn: Turn | None = None
        self._turn_over = asyncio.Event()
        self._question: Question | None = None
        self._unreported: Lost | None = None
        self._outbox: Mailbox[Output | Display | Result | None] = Mailbox()
        self._decoders = _new_decoders()
        self._deadline: asyncio.TimerHandle | None = None  # of the turn
        self._timer: asyncio.TimerHandle | None = None  # of the escalation
        self._death: str | None = None
        self._closing = asyncio.Lock()
        self._killed = False
        self._executions = self._losses = self._output_bytes = self._dropped_bytes = 0
        channel.attach(self._on_frame, self._die)

    def __repr__(self) -> str:
        turn = f" execution {self._turn.id}" if self._turn else ""
        why = f" ({self._death})" if self._death else ""
        return f"<Worker {self._id} {self._state.value}{turn}{why}>"

    @property
    def id(self) -> str:
        return self._id

    @property
    def state(self) -> State:
        return self._state

    @property
    def python_version(self) -> tuple[int, int]:
        assert self._ready is not None, "wait_ready() comes first"
        return self._ready.python[0], self._ready.python[1]

    @property
    def languages(self) -> tuple[str, ...]:
        assert self._ready is not None, "wait_ready() comes first"
        return tuple(self._ready.languages)

    @property
    def death(self) -> str | None:
        """Why it is dead, or None while it lives."""
        return self._death

    def statistics(self) -> WorkerStatistics:
        return WorkerStatistics(
            state=self._state.value,
            executions=self._executions,
            interpreters_lost=self._losses,
            output_bytes=self._output_bytes,
            dropped_bytes=self._dropped_bytes,
            buffered_bytes=self._outbox.weight,
        )

    # ------------------------------------------------------------------ life

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait for an interpreter that can be given code.

        Raises:
            SandboxStartError: the first one did not come in time, or the sandbox died before.
            SandboxGone: the same, later in its life.
        """
        error = SandboxGone if self._ready else SandboxStartError
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_interpreter.wait()
        except TimeoutError:
            self._die(f"not ready within {timeout_s:g} s")
        if self._death is not None:
            raise error(f"sandbox {self._id}: {self._death}")

    async def reset(self) -> None:
        """Kill the interpreter and all it started; a fresh one takes over. Running code ends with ``lost``."""
        self._check_alive()
        self._force_reset()
        await self.wait_ready(self._ready_s)

    async def close(self) -> None:
        """Kill the sandbox. A second call waits for the first, and does what that left undone."""
        self._die("closed")
        async with self._closing:
            if not self._killed:
                await self._kill()
                self._killed = True

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
    ) -> Execution:
        """See ``Session.execute``.

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
        turn = self._begin_turn(chunks, block, final, language, timeout_s)
        delivered = False
        try:
            await self._deliver(sink)
            delivered = True
        finally:
            if not delivered:  # the call was cancelled or the sink failed: the code must not go on unseen
                await self._abandon()
        self._check_alive()
        return turn.conclude()

    async def interrupt(self) -> None:
        """See ``Session.interrupt``. Returns when the execution is over."""
        if self._turn is not None:
            self._stop("interrupted")
            await self._turn_over.wait()

    def _begin_turn(
        self, chunks: Sequence[Chunk], block: str, final: bool, language: str, timeout_s: float | None
    ) -> Turn:
        turn = Turn(
            next(self._ids), [chunk.index for chunk in chunks], final=final, output_limit=self._output_limit_bytes
        )
        message = {
            "op": "execute",
            "id": turn.id,
            "block": block,
            "language": language,
            "chunks": [[chunk.index, chunk.line, chunk.column, chunk.source] for chunk in chunks],
            "final": final,
        }
        frame = encode_message(INTERPRETER, message)
        if len(frame) > MAX_FRAME_BYTES:
            raise RequestError("the code is too large", code="code_too_large", status=413)
        self._turn = turn
        self._turn_over.clear()
        self._executions += 1
        self._enter(State.EXECUTING)
        if timeout_s is not None:
            self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._stop, "timeout")
        self._channel.send(frame)
        return turn

    async def _deliver(self, sink: Sink) -> None:
        """Empty the outbox into the sink, up to the end of the turn."""
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
        turn = self._turn
        if turn is None:
            return
        turn.stop = turn.stop or why
        turn.abandoned = turn.abandoned or why == "abandoned"
        if self._state is State.EXECUTING:
            self._enter(State.STOPPING)
            self._send_control({"op": "interrupt", "id": turn.id})
            self._arm(self._grace_s, self._force_reset)
        elif self._state in (State.RESETTING, State.RECOVERING) and turn.abandoned:
            self._arm(self._reset_s, self._die, "no new interpreter in time")

    def _force_reset(self) -> None:
        if self._state not in (State.RESETTING, State.RECOVERING):
            self._enter(State.RESETTING)
            self._send_control({"op": "reset"})
        self._arm(self._patience_s(), self._die, "it does not answer a reset")

    def _patience_s(self) -> float:
        """How long a new interpreter may take: less when a cancelled caller waits for us."""
        return self._reset_s if self._turn is not None and self._turn.abandoned else self._ready_s

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if turn.final:
            self._flush_decoders()
        self._outbox.put_nowait(None)
        self._turn_over.set()

    # ------------------------------------------- questions to the supervisor

    async def ping(self) -> None:
        """Ask the supervisor, not the interpreter, whether it is there."""
        await self._ask({"op": "ping"}, Pong)

    async def checkpoint(self) -> str | None:
        """See ``Session.checkpoint``."""
        return _reason(await self._ask({"op": "checkpoint"}, Snapshot))

    async def commit(self) -> None:
        """See ``Session.commit``."""
        await self._ask({"op": "commit"}, Snapshot)

    async def rollback(self) -> str | None:
        """See ``Session.rollback``."""
        reason = _reason(await self._ask({"op": "rollback"}, Snapshot))
        if reason is None:
            self._unreported = None  # an interpreter that died since is of no interest any more
        return reason

    async def list_files(self, limit: int) -> FileReply:
        """Files of the work folder, at most ``limit`` of them."""
        return cast(FileReply, await self._ask({"op": "list", "limit": limit}, FileReply))

    async def remove_file(self, path: str) -> FileReply:
        return cast(FileReply, await self._ask({"op": "remove", "path": path}, FileReply))

    async def get_file(self, path: str, *, limit_bytes: int, sink: Callable[[bytes], Awaitable[None]]) -> FileReply:
        """Read a file of the work folder into ``sink``, as fast as the sink takes it."""
        message = {"op": "get", "path": path, "limit": limit_bytes}
        return cast(FileReply, await self._ask(message, FileReply, sink=sink, room=limit_bytes))

    async def put_file(self, path: str, size: int, source: AsyncIterable[bytes]) -> FileReply:
        """Write a file into the work folder. A source that fails or is not of ``size`` bytes ends the sandbox: it has
        been promised the rest.

        Raises:
            ValueError: the source holds more or less than ``size`` bytes.
        """
        message = {"op": "put", "path": path, "size": size}
        return cast(FileReply, await self._ask(message, FileReply, source=source, size=size))

    async def _ask(
        self,
        message: dict[str, Any],
        expected: type[Answer],
        *,
        sink: Callable[[bytes], Awaitable[None]] | None = None,
        room: int = 0,
        source: AsyncIterable[bytes] | None = None,
        size: int = 0,
    ) -> Answer:
        """One request, while no code runs."""
        await self._wait_free()
        question = self._question = Question(next(self._ids), expected, room=room)
        self._regulate_reading()
        try:
            self._send_control({**message, "id": question.id})
            if source is not None:
                await send_file(self._channel, source, size)
            while (piece := await question.wait_piece(self._answer_s)) is not None:
                self._regulate_reading()
                if sink is not None:
                    await sink(piece)
        except TimeoutError:
            self._die(f"the supervisor did not answer within {self._answer_s:g} s")
        finally:
            if question.answer is None and self._death is None:
                await self._leave(question, discardable=source is None)
            self._question = None
            self._regulate_reading()
        self._check_alive()
        assert question.answer is not None
        return question.answer

    async def _leave(self, question: Question, *, discardable: bool) -> None:
        """The asker is gone. The rest of an answer is thrown away, within a bounded time; half a file that was
        promised cannot be taken back."""
        try:
            while discardable and await question.wait_piece(self._grace_s) is not None:
                pass
        finally:
            if question.answer is None:
                self._die("a request to the supervisor was abandoned")

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
                self._on_file_data(payload)
            else:
                raise ProtocolError(f"frame of unknown kind {kind}")
        except ProtocolError as error:
            self._die(f"protocol violation: {error}")

    def _on_output(self, kind: int, payload: bytes) -> None:
        if len(payload) > MAX_DATA_BYTES or self._state is State.STARTING:
            raise ProtocolError(f"{len(payload)} bytes of output in state {self._state.value}")
        self._output_bytes += len(payload)
        payload = payload[: self._allow(len(payload))]
        text = self._decoders[kind].decode(payload)
        if text:
            self._outbox.put_nowait(Output(_STREAM[kind], text), len(payload))
            self._regulate_reading()

    def _on_interpreter(self, payload: bytes) -> None:
        message = decode_interpreter(payload)
        turn = self._turn
        if isinstance(message, Display) and message.id > 0 and (turn is None or message.id < turn.id):
            self._dropped_bytes += len(payload)  # shown by a thread that outlived its execution
            return
        if turn is None:
            raise ProtocolError(f"{type(message).__name__} while nothing runs")
        turn.accept(message)
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

    def _on_supervisor(self, payload: bytes) -> None:
        message = decode_supervisor(payload)
        if isinstance(message, Ready):
            if message.protocol != PROTOCOL_VERSION:
                raise ProtocolError(f"it speaks version {message.protocol}, we {PROTOCOL_VERSION}")
            self._ready = message
            self._follow("ready")
        elif isinstance(message, Lost):
            self._on_lost(message)
        elif self._question is None:
            raise ProtocolError(f"{type(message).__name__} that nobody asked for")
        else:
            self._question.accept_answer(message)

    def _on_lost(self, lost: Lost) -> None:
        turn, before = self._turn, self._state
        if turn is not None:
            turn.lost = turn.lost or lost
        elif before is State.IDLE:
            self._unreported = lost
        self._losses += 1
        self._flush_decoders()
        if before is State.RESETTING:
            self._follow("reset" if lost.reason == "reset" else "lost")
        else:
            self._follow("lost" if turn is None or lost.id == turn.id else "lost before")
            if self._state is State.RESETTING:
                self._send_control({"op": "reset"})
        self._arm(self._patience_s(), self._die, "no new interpreter in time")

    def _on_file_data(self, payload: bytes) -> None:
        if self._question is None:
            raise ProtocolError("file data that nobody asked for")
        self._question.accept_data(payload)
        self._regulate_reading()

    # --------------------------------------------------------------- the rest

    def _follow(self, event: str) -> None:
        """Take the transition that something said by the sandbox leads to."""
        state = TRANSITIONS.get((self._state, event))
        if state is None:
            raise ProtocolError(f"{event!r} in state {self._state.value}")
        self._enter(state)
        if state is State.IDLE:
            self._end_turn()

    def _enter(self, state: State) -> None:
        if state is self._state:
            return
        self._state = state
        if self._timer is not None and state in (State.IDLE, State.DEAD):
            self._timer.cancel()
            self._timer = None
        if state in (State.RESETTING, State.RECOVERING):
            self._has_interpreter.clear()
        else:
            self._has_interpreter.set()
        self._regulate_reading()

    def _allow(self, size: int) -> int:
        """How many of ``size`` bytes of output are kept. Stops the execution that is over its limit."""
        turn, allowed = self._turn, size
        if self._outbox.weight > HIGH_WATER and (self._state in HURRIED or self._question is not None):
            allowed = 0
        elif turn is not None:
            allowed = min(size, turn.budget)
            turn.budget -= allowed
            if allowed < size:
                turn.budget = 0
                self._stop("output")
        self._dropped_bytes += size - allowed
        return allowed

    def _regulate_reading(self) -> None:
        waiting = self._outbox.weight if self._question is None else self._question.weight
        if waiting > HIGH_WATER and self._state not in HURRIED:
            self._channel.pause_reading()
        elif waiting <= LOW_WATER or self._state in HURRIED:
            self._channel.resume_reading()

    def _flush_decoders(self) -> None:
        """A character that was cut off becomes U+FFFD."""
        for kind, decoder in self._decoders.items():
            text = decoder.decode(b"", final=True)
            if text:
                self._outbox.put_nowait(Output(_STREAM[kind], text), len(text))

    def _arm(self, delay_s: float, step: Callable[..., None], *arguments: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, step, *arguments)

    def _send_control(self, message: dict[str, Any]) -> None:
        self._channel.send(encode_message(CONTROL, message))

    async def _wait_free(self) -> None:
        if self._turn is None and self._state in (State.RESETTING, State.RECOVERING):
            await self.wait_ready(self._ready_s)
        self._check_alive()
        if self._turn is not None or self._question is not None:
            raise SessionBusy(f"session {self._id} is busy")

    def _check_alive(self) -> None:
        if self._death is not None:
            raise SandboxGone(f"sandbox {self._id} is gone: {self._death}")

    def _die(self, why: str) -> None:
        if self._death is not None:
            return
        self._death = why
        self._enter(State.DEAD)
        self._channel.abort(why)
        self._end_turn()
        if self._question is not None:
            self._question.give_up()
        if self.on_death is not None:
            self.on_death(self)


async def _discard(message: Output | Display | Result) -> None:
    """Sink of an execution that nobody listens to."""


def _reason(answer: Answer) -> str | None:
    assert isinstance(answer, Snapshot)
    return None if answer.ok else answer.error or "unknown"


def _new_decoders() -> dict[int, codecs.IncrementalDecoder]:
    utf8 = codecs.getincrementaldecoder("utf-8")
    return {STDOUT: utf8("replace"), STDERR: utf8("replace")}
