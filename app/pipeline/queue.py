"""The bounded hand-over from generation to execution: an asyncio shell around ``scheduling/pending.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from app.detection.chunk import Chunk
from app.pipeline.block import Block
from app.scheduling.gate import Decision
from app.scheduling.pending import Pending

#: Characters of code that may wait for the executor before generation has to wait too.
LIMIT_CHARS = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """A batch with the block it belongs to."""

    block: Block
    chunks: Sequence[Chunk]
    final: bool


@dataclass(frozen=True, slots=True)
class NextBlock:
    """It is this block's turn: those before it are over. Comes before its first batch, as early as possible."""

    block: Block


class ExecutionQueue:
    """One producer (generation), one consumer (the executor)."""

    def __init__(self, limit_chars: int = LIMIT_CHARS) -> None:
        self._pending = Pending()
        self._blocks: dict[str, Block] = {}
        self._opened: str | None = None
        self._limit_chars = limit_chars
        self._waiting_chars = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._over = False

    def __repr__(self) -> str:
        return f"<ExecutionQueue {self._pending!r}{' over' if self._over else ''}>"

    def begin(self, block: Block) -> None:
        """The model has begun this block: it runs after those begun before."""
        self._blocks[block.call_id] = block
        self._pending.begin(block.call_id)
        self._changed.set()

    async def add(self, block: Block, chunk: Chunk, decision: Decision) -> None:
        """Waits while too much code waits. A block that is over already (it failed) takes nothing more."""
        while self._waiting_chars > self._limit_chars:
            self._room.clear()
            await self._room.wait()
        if block.status is not None:
            return
        self._waiting_chars += len(chunk.source)
        self._pending.add(block.call_id, chunk, decision)
        self._changed.set()

    def end(self, block: Block) -> None:
        """No more chunks of this block will come."""
        self._pending.end(block.call_id)
        self._changed.set()

    def drop(self, block: Block) -> None:
        """The rest of this block is not to be run."""
        self._pending.drop(block.call_id)
        self._waiting_chars = sum(len(chunk.source) for _, chunk in self._pending.dropped())
        self._room.set()
        self._changed.set()

    def generation_over(self) -> None:
        """No more blocks will come, and what waited for the end of generation may run."""
        self._over = True
        self._pending.generation_over()
        self._changed.set()

    async def take(self) -> NextBlock | Work | None:
        """The next batch, as soon as there is one; None when everything was taken and nothing can come."""
        while True:
            self._changed.clear()
            if (front := self._pending.front) is not None and front != self._opened:
                self._opened = front
                return NextBlock(self._blocks[front])
            if (batch := self._pending.take_batch()) is not None:
                self._waiting_chars -= sum(len(chunk.source) for chunk in batch.chunks)
                self._room.set()
                return Work(self._blocks[batch.block], batch.chunks, batch.final)
            if self._over:
                return None
            await self._changed.wait()
