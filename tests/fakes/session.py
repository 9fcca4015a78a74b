"""A session that runs nothing: the test decides what each execution says and when it ends."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.detection.chunk import Chunk
from app.sandbox.worker.execution import Execution, Sink
from app.sandbox.worker.messages import Display, Failure, FileReply, Output, Result


@dataclass
class Executed:
    """One call of ``execute``."""

    sources: list[str]
    block: str
    final: bool
    language: str
    cut: bool


@dataclass
class FakeSession:
    """Stands in for a worker. A chunk that contains a key of ``fails`` fails so; ``hold`` keeps executions that contain
    the text running until ``release`` is set or they are cancelled."""

    id: str = "fake-1"
    python_version: tuple[int, int] = sys.version_info[:2]
    says: dict[str, list[Output | Display | Result]] = field(default_factory=dict)
    fails: dict[str, Execution] = field(default_factory=dict)
    hold: str | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Event = field(default_factory=asyncio.Event)
    executed: list[Executed] = field(default_factory=list)
    cancelled: bool = False
    #: Why no checkpoint can be made, or no rollback.
    refuses_checkpoint: str | None = None
    refuses_rollback: str | None = None
    #: checkpoint, commit, rollback, and the sources of each execution, in order.
    history: list[str] = field(default_factory=list)
    #: What each question for CPU time is answered.
    cpu: Iterator[float | None] = field(default_factory=lambda: itertools.repeat(None))

    async def cpu_s(self) -> float | None:
        return next(self.cpu)

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
    ) -> Execution:
        self.history.append("".join(chunk.source for chunk in chunks))
        self.executed.append(Executed([chunk.source for chunk in chunks], block, final, language, cut))
        for ran, chunk in enumerate(chunks):
            if self.hold is not None and self.hold in chunk.source:
                self.running.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled = True
                    raise
            for part, said in self.says.items():
                if part in chunk.source:
                    for one in said:
                        await sink(one)
            for part, execution in self.fails.items():
                if part in chunk.source:
                    return Execution(execution.status, ran, [1000] * ran, execution.failure, execution.exit_code)
        return Execution("ok", len(chunks), [1000] * len(chunks))

    async def list_files(self, limit: int) -> FileReply:
        return FileReply(0, True, entries=[])

    async def interrupt(self) -> None:
        self.release.set()

    async def checkpoint(self) -> str | None:
        self.history.append("checkpoint")
        return self.refuses_checkpoint

    async def commit(self) -> None:
        self.history.append("commit")

    async def rollback(self) -> str | None:
        self.history.append("rollback")
        return self.refuses_rollback


def failing(ename: str = "ValueError", line: int = 1, chunk: int = 0) -> Execution:
    """An execution that ends with an exception."""
    text = f"Traceback (most recent call last):\n{ename}: boom\n"
    return Execution("error", 0, [], Failure(1, chunk, ename, "boom", text, line))
