"""A worker is trusted when it has run a line of code."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from app.detection.chunk import Chunk
from app.errors import SandboxStartError
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker

_LINE: Final = Chunk(index=0, source="1 + 1\n", start=0, end=6, line=1, column=0, kind="simple")


async def tried(start: Awaitable[Worker], timeout_s: float) -> Worker:
    """The worker of a start, after its first line.

    Raises:
        SandboxStartError: it fails at it. The worker is closed.
    """
    worker = await start
    try:
        execution = await worker.execute(
            [_LINE], block="check", final=True, sink=_ignore, timeout_s=timeout_s, trial=True
        )
        if execution.status != "ok":
            raise SandboxStartError(f"sandbox {worker.id} fails its first line: {execution}")
    except BaseException:
        await worker.close()
        raise
    return worker


async def _ignore(message: Output | Display | Result) -> None:
    """Of the first line."""
