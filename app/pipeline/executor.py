"""The consumer: queue -> session -> events, until generation is over and everything was run, reported or dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from app.detection.chunk import SyntaxProblem
from app.events import (
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    ExecutionStatus,
    FileChange,
    Interrupt,
    SessionLost,
)
from app.pipeline.accounting import execute
from app.pipeline.block import Block, BlockStatus, code_end
from app.pipeline.emitter import Emitter
from app.pipeline.place import Place
from app.pipeline.queue import ExecutionQueue, Work
from app.pipeline.stopwatch import TurnClock
from app.pipeline.transaction import NoTransaction, Transaction
from app.pipeline.work_folder import WorkFolderWatch
from app.sandbox.session import Session
from app.sandbox.worker.execution import Execution, Sink
from app.sandbox.worker.messages import Display, Failure, Output, Result

OnError = Literal["interrupt", "continue"]

IMAGES = ("image/png", "image/jpeg")
#: Longest plain-text form of a result that rides in ``repr``; ``data`` has all of it.
REPR_CHARS = 100_000


class Executor:
    """Drives one session through the batches of one upstream answer. The session is had when the first block begins.

    A block that fails is over: the rest of it is dropped, and its ``code.end`` says how much of it ran. Unless
    ``on_error`` is ``continue``, that also ends generation and everything after it: ``stop_generation`` closes the
    upstream stream, and tells whether there was anything left to stop.
    """

    def __init__(
        self,
        place: Place,
        *,
        emitter: Emitter,
        queue: ExecutionQueue,
        clock: TurnClock,
        transaction: Transaction | NoTransaction,
        folder: WorkFolderWatch,
        on_error: OnError,
        budget_s: float,
        stop_generation: Callable[[], bool],
    ) -> None:
        self.budget_s = budget_s
        #: Why generation was stopped early; None while it was not.
        self.stopped: ExecutionStatus | None = None
        self._place = place
        self._session: Session | None = None
        self._emitter = emitter
        self._queue = queue
        self._clock = clock
        self._transaction = transaction
        self._folder = folder
        self._on_error = on_error
        self._stop_generation = stop_generation
        self._batch = -1
        self._halted = False
        self._told = False

    async def run(self) -> None:
        async with self._transaction:
            while (taken := await self._queue.take()) is not None:
                if isinstance(taken, Work):
                    await self._execute(taken)
                elif not self._halted:
                    await self._begin(taken.block)

    async def _begin(self, block: Block) -> None:
        """What can be done while its first statement is being written."""
        self._session = await self._place.session()
        await self._transaction.begin(block, self._session)
        await self._folder.begin(self._session)

    async def _execute(self, work: Work) -> None:
        block = work.block
        if self._halted:
            await self._end(block, "interrupted")
            return
        # Code that was cut short has no last statement: nothing is displayed for it. It has an end all the same.
        cut = work.final and (block.problem is not None or block.incomplete)
        if work.chunks or (work.final and (block.has_run if cut else block.chunks)):
            execution = await self._run(work, cut=cut)
            block.ran += execution.ran
            if (status := _status(execution)) != "ok":
                await self._end(block, status)
                return
            if execution.status == "exit":  # sys.exit(0): the rest of the block is not meant to run
                await self._end(block, "ok")
                return
        if not work.final:
            return
        if block.problem is not None:
            self._interrupt_on("error")
            await self._report(block, _problem_failure(block, block.problem))
            await self._end(block, "error")
        else:
            await self._end(block, "incomplete" if block.incomplete else "ok")

    async def _run(self, work: Work, *, cut: bool) -> Execution:
        block, emit = work.block, self._emitter.emit
        assert self._session is not None, "a block is opened before it is run"
        block.has_run = True
        if work.chunks:
            self._batch += 1
            chunks = [chunk.index for chunk in work.chunks]
            block.running = self._batch, self._emitter.now_s()
            await emit(ExecStart(call_id=block.call_id, batch=self._batch, chunks=chunks))
        began_s = self._emitter.now_s()
        execution = await execute(
            self._session,
            work.chunks,
            name=self._place.name,
            block=block.name,
            final=work.final,
            cut=cut,
            sink=self._sink(block, began_s),
            timeout_s=max(self.budget_s, 0.0),
            language=block.language,
        )
        elapsed_s = self._emitter.now_s() - began_s
        self.budget_s -= elapsed_s
        self._clock.execution(began_s + elapsed_s, elapsed_s, execution.durations_ns)
        status = _status(execution)
        self._interrupt_on(status)
        if (failure := execution.failure) is not None:
            await self._report(block, failure)
        if execution.state_lost or execution.status == "lost":
            block.state_lost = True
            reason, detail = (failure.ename, failure.evalue) if failure else (execution.status, "")
            await emit(SessionLost(reason=reason, detail=detail))
        if work.chunks:
            block.running = None
            duration_ms = round(elapsed_s * 1e3, 3)
            await emit(ExecEnd(call_id=block.call_id, batch=self._batch, status=status, duration_ms=duration_ms))
        return execution

    def _sink(self, block: Block, began_s: float) -> Sink:
        call_id, batch, emit = block.call_id, self._batch, self._emitter.emit

        async def sink(said: Output | Display | Result) -> None:
            block.transcript.add(said)
            self._clock.output(self._emitter.now_s(), began_s)
            if isinstance(said, Output):
                await emit(ExecOutput(call_id=call_id, batch=batch, stream=said.stream, text=said.text))
            else:
                await emit(_result(call_id, batch, said))

        return sink

    def _interrupt_on(self, status: ExecutionStatus) -> None:
        """Stop generation before anything is said about it: every token costs."""
        if status == "ok" or (status == "error" and self._on_error == "continue"):
            return
        self._halted = True
        if self.stopped is None and self._stop_generation():
            self.stopped = status

    async def _report(self, block: Block, failure: Failure) -> None:
        block.transcript.fail(failure)
        block.compile_failed = failure.phase == "compile"
        await self._emitter.emit(
            ExecError(
                call_id=block.call_id,
                batch=self._batch,
                chunk=failure.chunk,
                ename=failure.ename,
                evalue=failure.evalue,
                traceback=failure.traceback,
                line=failure.line,
                phase=failure.phase,
            )
        )

    async def _end(self, block: Block, status: BlockStatus) -> None:
        block.status = status
        self._queue.drop(block)
        await self._transaction.end(block)
        block.files = await self._changed_files(block)
        await self._emitter.emit(code_end(block, block.files))
        if self.stopped is not None and not self._told:
            self._told = True
            await self._emitter.emit(Interrupt(call_id=block.call_id, reason=self.stopped))

    async def _changed_files(self, block: Block) -> list[FileChange] | None:
        if not block.has_run or self._session is None:
            return []
        return await self._folder.changes(self._session)


def _status(execution: Execution) -> ExecutionStatus:
    match execution.status:
        case "exit":
            return "ok" if execution.exit_code == 0 else "error"
        case "lost":
            return "error"
        case status:
            return status


def _problem_failure(block: Block, problem: SyntaxProblem) -> Failure:
    """A syntax error as the sandbox would have reported it, but for the caret: where in its line is not known."""
    lines = block.code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    shown = "".join(f"    {line.strip()}\n" for line in lines[problem.line - 1 : problem.line] if line.strip())
    return Failure(
        id=0,
        chunk=block.problem_chunk,
        ename=problem.kind,
        evalue=problem.message,
        traceback=f'  File "main.py", line {problem.line}\n{shown}{problem.kind}: {problem.message}\n',
        line=problem.line,
        phase="compile",
    )


def _result(call_id: str, batch: int, said: Display | Result) -> ExecResult:
    text = said.data.get("text/plain")
    # One picture of one thing: what is there as PNG and as JPEG is the same twice.
    images = [f"data:{mime};base64,{said.data[mime]}" for mime in IMAGES if mime in said.data][:1]
    return ExecResult(
        call_id=call_id,
        batch=batch,
        repr=text[:REPR_CHARS] if isinstance(text, str) else None,
        data=said.data,
        images=images,
        display=isinstance(said, Display),
    )
