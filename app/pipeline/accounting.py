"""Executions, told to who keeps account of them (``app/usage.py``)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from app.detection.chunk import Chunk
from app.errors import SandboxError
from app.sandbox.session import Session
from app.sandbox.worker.execution import Execution
from app.usage import ExecutionRecord, Used, used_by_request


async def execute(session: Session, chunks: Sequence[Chunk], *, name: str, language: str, **how: Any) -> Execution:
    """``Session.execute``. ``name`` is that of the kept session, if it is one."""
    used = used_by_request()
    before = await session.cpu_s() if used.meters_cpu else None
    began = time.monotonic()
    outcome = "interrupted"
    try:
        execution = await session.execute(chunks, language=language, **how)
        outcome = execution.status
    except SandboxError:
        outcome = "failed"
        raise
    finally:
        seconds = time.monotonic() - began
        if chunks:
            _tell(used, session, chunks, name, language, seconds, outcome)
        if outcome in ("interrupted", "failed"):  # it cannot be asked, or nobody waits
            used.cpu_s += seconds
    if used.meters_cpu and outcome != "interrupted":
        used.cpu_s += await _spent(session, before, seconds)
    return execution


async def _spent(session: Session, before: float | None, seconds: float) -> float:
    """CPU time of an execution; its wall time where that is all there is."""
    after = await session.cpu_s()
    return seconds if before is None or after is None else max(after - before, 0.0)


def _tell(
    used: Used, session: Session, chunks: Sequence[Chunk], name: str, language: str, seconds: float, outcome: str
) -> None:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk.source.encode("utf-8", "surrogatepass"))
    used.on_execution(
        ExecutionRecord(
            key=used.key,
            request=used.request,
            session=name,
            sandbox=session.id,
            language=language,
            sha256=digest.hexdigest(),
            seconds=round(seconds, 6),
            outcome=outcome,
        )
    )
