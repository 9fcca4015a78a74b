"""What is told when a request fails after its first event. Nothing that was received is passed over in silence:
unfinished code is reported before the error."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET

from app.errors import EagerError
from app.events import Error, ErrorBody, ExecEnd, Rollback
from app.pipeline.block import Block, code_end
from app.pipeline.emitter import Emitter


async def report_unfinished(emitter: Emitter, blocks: Iterable[Block]) -> None:
    for block in blocks:
        if block.status is not None:
            continue
        block.status = "incomplete"
        if block.running is not None:
            batch, began_s = block.running
            duration_ms = round((emitter.now_s() - began_s) * 1e3, 3)
            await emitter.emit(
                ExecEnd(call_id=block.call_id, batch=batch, status="interrupted", duration_ms=duration_ms)
            )
        if block.rolled_back:
            await emitter.emit(Rollback(call_id=block.call_id, status="done", reason="incomplete"))
        await emitter.emit(code_end(block))


async def report_failure(emitter: Emitter, failure: EagerError) -> None:
    error = ErrorBody(failure.told, failure.type, failure.param, failure.code)
    await emitter.emit(Error(error=error, status=failure.status, headers=failure.headers or UNSET))
