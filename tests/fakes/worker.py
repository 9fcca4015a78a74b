"""A sandbox with a work folder, in memory: what the pool hands out in tests of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.detection.chunk import Chunk
from app.errors import SandboxGone, SessionBusy
from app.sandbox.worker.execution import Execution, Sink
from app.sandbox.worker.messages import FileEntry, FileReply
from tests.fakes.session import FakeSession


@dataclass(eq=False)
class FakeWorker(FakeSession):
    """``writes``: files, by path, that code which contains the key puts into the folder."""

    files: dict[str, bytes] = field(default_factory=dict)
    writes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    full: bool = False
    death: str | None = None
    on_death: Callable[[Any], None] | None = None

    __hash__ = object.__hash__

    def die(self) -> None:
        self.death = "killed by the test"
        if self.on_death is not None:
            self.on_death(self)

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
        execution = await super().execute(
            chunks, block=block, final=final, sink=sink, timeout_s=timeout_s, language=language, cut=cut
        )
        for chunk in chunks:
            for part, files in self.writes.items():
                if part in chunk.source:
                    self.files |= files
        self._check()
        return execution

    async def list_files(self, limit: int) -> FileReply:
        self._check()
        entries = [FileEntry(path, len(content), 0) for path, content in sorted(self.files.items())]
        return FileReply(0, True, entries=entries[:limit], truncated=len(entries) > limit)

    async def put_file(self, path: str, size: int, source: AsyncIterable[bytes]) -> FileReply:
        self._check()
        content = b"".join([piece async for piece in source])
        if len(content) != size:
            self.die()
            raise ValueError("not of the size announced")
        if self.full or ".." in path:
            return FileReply(0, False, "No space left on device")
        self.files[path] = content
        return FileReply(0, True, size=size)

    async def get_file(self, path: str, *, limit_bytes: int, sink: Callable[[bytes], Awaitable[None]]) -> FileReply:
        self._check()
        if path not in self.files:
            return FileReply(0, False, "No such file or directory")
        await sink(self.files[path])
        return FileReply(0, True, size=len(self.files[path]))

    async def remove_file(self, path: str) -> FileReply:
        self._check()
        if self.files.pop(path, None) is None:
            return FileReply(0, False, "No such file or directory")
        return FileReply(0, True)

    async def close(self) -> None:
        self.death = self.death or "closed"

    def _check(self) -> None:
        if self.death is not None:
            raise SandboxGone(f"sandbox {self.id} is gone: {self.death}")
        if self.running.is_set() and not self.release.is_set():
            raise SessionBusy("busy")


class FakeBackend:
    """Starts fake workers. ``prepare`` is called with each before it is handed out."""

    name = "fake"

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.prepare: Callable[[FakeWorker], None] = lambda worker: None

    async def start(self) -> FakeWorker:
        worker = FakeWorker(id=f"fake-{len(self.workers) + 1}")
        self.workers.append(worker)
        self.prepare(worker)
        return worker

    async def close(self) -> None:
        pass

    def describe(self) -> str:
        return "no isolation: fake"

    def used(self) -> list[FakeWorker]:
        """Those that ran more than the pool's first line, or hold files."""
        return [worker for worker in self.workers if len(worker.executed) > 1 or worker.files]

    async def wait_running(self) -> FakeWorker:
        """A worker whose code is being held."""
        while True:
            for worker in self.workers:
                if worker.running.is_set():
                    return worker
            await asyncio.sleep(0)
