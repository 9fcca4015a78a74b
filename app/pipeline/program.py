"""A program without a model: the same execution and the same events, with nothing to overlap."""

from __future__ import annotations

from app.errors import EagerError
from app.events import CodeStart, Done, Start
from app.pipeline.block import Block
from app.pipeline.emitter import Emitter, SendEvent
from app.pipeline.executor import Executor
from app.pipeline.failure import report_failure, report_unfinished
from app.pipeline.place import Place
from app.pipeline.queue import ExecutionQueue
from app.pipeline.serial import WholeProgram
from app.pipeline.stopwatch import Stopwatch
from app.pipeline.transaction import NoTransaction
from app.pipeline.work_folder import WorkFolderWatch


async def run_program(
    code: str,
    *,
    call_id: str,
    language: str,
    timeout_s: float,
    place: Place,
    send: SendEvent,
) -> None:
    """Run ``code`` as one program. A failure is an event, as in ``run.py``."""
    emitter, stopwatch, queue = Emitter(send), Stopwatch(), ExecutionQueue()
    clock = stopwatch.turn(emitter.now_s())
    await emitter.emit(Start(id=call_id, model="", session=place.name, container_id=place.container_id))
    block = Block(call_id, 0, "tool", language, WholeProgram())
    await emitter.emit(CodeStart(call_id=call_id, turn=0, source=block.source, language=language))
    block.detector.feed(code)
    queue.begin(block)
    for chunk in block.detector.flush():
        block.chunks.append(chunk)
        clock.chunk_generated_s.append(emitter.now_s())
        await queue.add(block, chunk, "run")
    queue.end(block)
    queue.generation_over()
    clock.generated_s = emitter.now_s()
    executor = Executor(
        place,
        emitter=emitter,
        queue=queue,
        clock=clock,
        transaction=NoTransaction(),
        folder=WorkFolderWatch(),
        on_error="interrupt",
        budget_s=timeout_s,
        stop_generation=lambda: False,
    )
    finish_reason = "error"
    try:
        await executor.run()
        finish_reason = block.status or "ok"
    except EagerError as failure:
        await report_unfinished(emitter, [block])
        await report_failure(emitter, failure)
    await emitter.emit(Done(finish_reason=finish_reason, usage=None, timing=stopwatch.timing()))
