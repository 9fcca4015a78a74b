"""The producer: upstream -> extraction -> detection -> queue, for one upstream answer."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from app.detection import SLICE, Chunk, Confirmer, Detector, SyntaxProblem, create_detector
from app.events import ChunkDetected, CodeStart, DeltaExtra, Interrupt, Token, ToolCall, ToolCallDelta, TurnEnd
from app.extraction.deltas import decode_delta
from app.extraction.tool_calls import Kind
from app.extraction.turn import TurnReader
from app.extraction.turn_items import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
    ExtraFields,
    FieldsBeside,
    Finish,
    ForeignCall,
    ForeignFragment,
    ReasoningText,
    RefusalText,
    RefusedCall,
    TurnItem,
    UsageReport,
)
from app.pipeline.block import Block
from app.pipeline.emitter import Emitter
from app.pipeline.queue import ExecutionQueue
from app.pipeline.serial import WholeProgram
from app.pipeline.stopwatch import Stopwatch, TurnClock
from app.scheduling.gate import Gate, Policy


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
        policy: Policy,
        grammar: tuple[int, int],
        prepare: Callable[[], None],
        serial: bool,
        stop_on_problem: bool,
        max_calls: int | None = None,
    ) -> None:
        self.reader = reader
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.blocks: dict[str, Block] = {}
        self.foreign_calls: list[ForeignCall] = []
        #: Ids of foreign calls that the client has seen something of. It must see their end, and will answer them, so
        #: an answer with any is not cut short.
        self.shown_calls: set[str] = set()
        #: Upstream events received.
        self.deltas = 0
        self.turn = turn
        self._end: TurnEnd | None = None
        self._prepare = prepare
        self._emitter = emitter
        self._queue = queue
        self._clock = clock
        self._stopwatch = stopwatch
        self._policy: Policy = policy
        self._grammar = grammar
        self._serial = serial
        self._stop_on_problem = stop_on_problem
        #: Calls of code tools that were begun, and those beyond ``max_calls``, which do not count and do not run.
        self.calls = 0
        self._max_calls = max_calls
        self._beyond: set[str] = set()
        #: Code that can never compile ended this answer early.
        self.stopped = False
        self._open: dict[str, _Open] = {}

    async def run(self, stream: AsyncIterator[Sequence[str]], *, close: Callable[[], Awaitable[None]]) -> None:
        """Whatever way it ends, the queue is told that generation is over, and the upstream's connection is closed:
        code that runs on must not keep the model writing."""
        try:
            async for events in stream:
                for data in events:
                    self.deltas += 1
                    items = self.reader.feed(decode_delta(data))
                    if self.reader.expects_code:
                        self._prepare()
                    await self._handle(items)
                    if self.stopped:
                        return
            await self._handle(self.reader.flush())
            self._clock.generated_s = self._emitter.now_s()
            self._end = TurnEnd(turn=self.turn, finish_reason=self.finish_reason, usage=self.usage)
            await self._emitter.emit(self._end)
        finally:
            self._clock.generated_s = self._clock.generated_s or self._emitter.now_s()
            for part in self._open.values():
                part.block.incomplete = True
                self._queue.end(part.block)
            self._open.clear()
            self._queue.generation_over()
            await close()

    @property
    def end_was_sent(self) -> bool:
        """Whether ``turn.end`` was sent; it has a number then, even if we were cancelled while it was on its way."""
        return self._end is not None and self._end.seq >= 0

    async def _handle(self, items: Iterable[TurnItem]) -> None:
        emit = self._emitter.emit
        for item in items:
            match item:
                case CodeText(call_id=call_id) | CodeEnded(call_id=call_id) if call_id in self._beyond:
                    pass
                case CodeText(call_id=call_id, text=text):
                    self._note_token()
                    await emit(Token(turn=self.turn, channel="code", text=text, call_id=call_id))
                    await self._detect(call_id, text)
                case ContentText(text=text, logprobs=logprobs):
                    self._note_token()
                    await emit(Token(turn=self.turn, channel="content", text=text, logprobs=logprobs or UNSET))
                case RefusalText() | ReasoningText() | ExtraFields() | FieldsBeside():
                    self._note_token()
                    await emit(self._event_of(item))
                case CodeStarted():
                    await self._start_block(item)
                case CodeEnded(call_id=call_id, complete=complete):
                    await self._end_block(call_id, complete)
                case ForeignFragment():
                    self._note_token()
                    if (block := self.blocks.get(item.id)) is not None:
                        block.turned_foreign = True
                    await self._show_fragment(item)
                case ForeignCall():
                    self.foreign_calls.append(item)
                    self.shown_calls.add(item.id)
                    extras = dict(item.extras) or UNSET
                    kind = _kind_on_the_wire(item.kind)
                    await emit(ToolCall(id=item.id, name=item.name, arguments=item.arguments, extras=extras, kind=kind))
                case RefusedCall():
                    self._refuse_call(item)
                case Finish(reason=reason):
                    self.finish_reason = reason
                case UsageReport(usage=usage):
                    self.usage = usage

    def _event_of(self, item: RefusalText | ReasoningText | ExtraFields | FieldsBeside) -> Token | DeltaExtra:
        match item:
            case RefusalText(text=text, logprobs=logprobs):
                return Token(turn=self.turn, channel="refusal", text=text, logprobs=logprobs or UNSET)
            case ReasoningText(text=text, key=key):
                return Token(turn=self.turn, channel="reasoning", text=text, key=key)
            case ExtraFields(fields=fields):
                return DeltaExtra(turn=self.turn, fields=fields)
            case FieldsBeside(choice=choice, answer=answer):
                return DeltaExtra(turn=self.turn, fields={}, choice=choice or UNSET, answer=answer or UNSET)

    async def _show_fragment(self, item: ForeignFragment) -> None:
        """While code is being written the client's calls are held back until they are whole."""
        if item.id in self.shown_calls or not self.blocks:
            self.shown_calls.add(item.id)
            kind = _kind_on_the_wire(item.kind)
            await self._emitter.emit(ToolCallDelta(id=item.id, name=item.name, arguments=item.arguments, kind=kind))

    def _note_token(self) -> None:
        if self._clock.first_token_s is None:
            self._clock.first_token_s = self._emitter.now_s()

    async def _start_block(self, item: CodeStarted) -> None:
        if item.source == "tool":
            if self._max_calls is not None and self.calls >= self._max_calls:
                self._beyond.add(item.call_id)
                block = Block(item.call_id, self.turn, "tool", item.language, WholeProgram(), status="interrupted")
                block.beyond_limit = True
                self.blocks[item.call_id] = block
                return
            self.calls += 1
        block = Block(item.call_id, self.turn, item.source, item.language, self._new_detector(item.language))
        confirmer = Confirmer(self._grammar) if item.language == "python" and not self._serial else None
        self.blocks[item.call_id] = block
        self._open[item.call_id] = _Open(block, Gate(self._policy), confirmer)
        self._queue.begin(block)
        await self._emitter.emit(
            CodeStart(call_id=block.call_id, turn=self.turn, source=block.source, language=block.language)
        )

    def _refuse_call(self, call: RefusedCall) -> None:
        """The model is told, and nobody else: the client knows nothing of the tool, and there is nothing to run."""
        block = self.blocks.get(call.id)
        if block is None:
            block = Block(call.id, self.turn, "tool", call.language, WholeProgram(), status="interrupted")
            self.blocks[call.id] = block
        block.refused = call.language

    def _new_detector(self, language: str) -> Detector:
        return WholeProgram() if self._serial else create_detector(language, self._grammar)

    async def _detect(self, call_id: str, text: str) -> None:
        block = self.blocks[call_id]
        for start in range(0, len(text), SLICE):
            if start:
                await asyncio.sleep(0)  # the loop is not held for longer than one slice
            await self._accept(block, block.detector.feed(text[start : start + SLICE]))

    async def _end_block(self, call_id: str, complete: bool) -> None:
        block = self.blocks[call_id]
        if complete:
            await self._accept(block, block.detector.flush())
        if call_id in self._open:
            block.incomplete = not complete
            self._close(block)

    def _close(self, block: Block) -> None:
        del self._open[block.call_id]
        self._queue.end(block)

    async def _accept(self, block: Block, chunks: Sequence[Chunk]) -> None:
        """Confirm, gate and queue what was detected, up to the first that can never compile."""
        for chunk in chunks:
            block.chunks.append(chunk)
            part = self._open.get(block.call_id)
            if part is None or chunk.kind == "trivia":  # comments behind the last statement
                continue
            confirmed = part.confirmer.confirm(chunk) if part.confirmer else None
            if isinstance(confirmed, SyntaxProblem):
                await self._refuse(block, confirmed, chunk.index)
            else:
                await self._queue_chunk(part, chunk, confirmed)
        if block.detector.problem is not None and block.call_id in self._open:
            await self._refuse(block, block.detector.problem, len(block.chunks))

    async def _queue_chunk(self, part: _Open, chunk: Chunk, tree: ast.Module | None) -> None:
        category = part.gate.classify(tree, chunk.source)
        if category is not None:
            self._stopwatch.gates[category] += 1
        self._clock.chunk_generated_s.append(self._emitter.now_s())
        await self._emitter.emit(
            ChunkDetected(
                call_id=part.block.call_id,
                chunk=chunk.index,
                start=chunk.start,
                end=chunk.end,
                line=chunk.line,
                gated=category,
            )
        )
        await self._queue.add(part.block, chunk, "serial" if self._serial else part.gate.decide(category))

    async def _refuse(self, block: Block, problem: SyntaxProblem, chunk: int) -> None:
        """The rest of the block can never run. The executor reports it when the chunks before it have run."""
        block.problem, block.problem_chunk = problem, chunk
        self._close(block)
        if self._stop_on_problem and not self.shown_calls:
            self.stopped = True
            await self._emitter.emit(Interrupt(call_id=block.call_id, reason="error"))


def _kind_on_the_wire(kind: Kind) -> Literal["custom"] | UnsetType:
    return UNSET if kind == "function" else kind


@dataclass(frozen=True, slots=True)
class _Open:
    """A block that is being written."""

    block: Block
    gate: Gate
    confirmer: Confirmer | None
