"""The producer: upstream -> extraction -> detection -> queue, for one upstream answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from app.detection import create_detector
from app.detection.chunk import Chunk, Detector
from app.detection.confirm import Confirmer
from app.events import ChunkDetected, CodeStart, Token, ToolCall
from app.extraction.deltas import decode_delta
from app.extraction.turn import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
    Finish,
    ForeignCall,
    Item,
    ReasoningText,
    RefusalText,
    TurnReader,
    Usage,
)
from app.pipeline.block import Block
from app.pipeline.emitter import Emitter
from app.pipeline.queue import ExecutionQueue
from app.pipeline.serial import WholeProgram
from app.pipeline.stopwatch import Stopwatch, TurnClock
from app.scheduling.gate import Gate

#: Characters detected in one go; the loop is free between two slices (measured: below 2 ms).
SLICE_CHARS = 16_384


class Generation:
    """Reads one upstream answer to its end, or until it is cancelled."""

    def __init__(
        self,
        reader: TurnReader,
        *,
        turn: int,
        emitter: Emitter,
        queue: ExecutionQueue,
        clock: TurnClock,
        stopwatch: Stopwatch,
        new_gate: Callable[[], Gate],
        grammar: tuple[int, int],
        serial: bool,
    ) -> None:
        self.reader = reader
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.blocks: dict[str, Block] = {}
        self.foreign_calls: list[ForeignCall] = []
        self._turn = turn
        self._emitter = emitter
        self._queue = queue
        self._clock = clock
        self._stopwatch = stopwatch
        self._new_gate = new_gate
        self._grammar = grammar
        self._serial = serial
        self._open: dict[str, tuple[Block, Gate, Confirmer | None]] = {}

    async def run(self, stream: AsyncIterator[Sequence[bytes]]) -> None:
        """Whatever way it ends, the queue is told that generation is over."""
        try:
            async for events in stream:
                for data in events:
                    await self._handle(self.reader.feed(decode_delta(data)))
            await self._handle(self.reader.flush())
        finally:
            self._clock.generated_s = self._emitter.now_s()
            for block, _, _ in self._open.values():
                block.incomplete = True
                self._queue.end(block)
            self._open.clear()
            self._queue.generation_over()

    async def _handle(self, items: Iterable[Item]) -> None:
        emit = self._emitter.emit
        for item in items:
            match item:
                case CodeText(call_id=call_id, text=text):
                    self._note_token()
                    await emit(Token(turn=self._turn, channel="code", text=text, call_id=call_id))
                    await self._detect(call_id, text)
                case ContentText(text=text) | RefusalText(text=text):
                    self._note_token()
                    await emit(Token(turn=self._turn, channel="content", text=text))
                case ReasoningText(text=text):
                    self._note_token()
                    await emit(Token(turn=self._turn, channel="reasoning", text=text))
                case CodeStarted():
                    await self._start_block(item)
                case CodeEnded(call_id=call_id, complete=complete):
                    await self._end_block(call_id, complete)
                case ForeignCall():
                    self.foreign_calls.append(item)
                    await emit(ToolCall(id=item.id, name=item.name, arguments=item.arguments))
                case Finish(reason=reason):
                    self.finish_reason = reason
                case Usage(usage=usage):
                    self.usage = usage

    def _note_token(self) -> None:
        if self._clock.first_token_s is None:
            self._clock.first_token_s = self._emitter.now_s()

    async def _start_block(self, item: CodeStarted) -> None:
        detector: Detector
        confirmer = None
        if self._serial:
            detector = WholeProgram()
        else:
            detector = create_detector(item.language, self._grammar)
            if item.language == "python":
                confirmer = Confirmer(self._grammar)
        block = Block(item.call_id, self._turn, item.source, item.language, detector)
        self.blocks[item.call_id] = block
        self._open[item.call_id] = (block, self._new_gate(), confirmer)
        await self._emitter.emit(
            CodeStart(call_id=block.call_id, turn=self._turn, source=block.source, language=block.language)
        )

    async def _detect(self, call_id: str, text: str) -> None:
        block = self.blocks[call_id]
        for start in range(0, len(text), SLICE_CHARS):
            if start:
                await asyncio.sleep(0)
            await self._accept(block, block.detector.feed(text[start : start + SLICE_CHARS]))

    async def _end_block(self, call_id: str, complete: bool) -> None:
        block = self._open[call_id][0]
        if complete:
            await self._accept(block, block.detector.flush())
        block.incomplete = not complete
        del self._open[call_id]
        self._queue.end(block)

    async def _accept(self, block: Block, chunks: Sequence[Chunk]) -> None:
        """Confirm, gate and queue newly detected chunks, up to the first that can never compile."""
        _, gate, confirmer = self._open[block.call_id]
        for chunk in chunks:
            if block.problem is not None:
                break
            confirmed = await confirmer.confirm(chunk) if confirmer else None
            ...
