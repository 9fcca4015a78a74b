"""One request, from its first upstream call to ``done``.

A turn is one upstream answer. Its generation and execution run side by side in one TaskGroup, which is over before the
next turn begins. Leaving a turn in any way closes the upstream stream. Cancelling the request also interrupts the code
(``Session.execute``). An upstream that fails after the first event ends the request with ``error`` and ``done``.

After a turn                                the request
    without calls, or cut off by a limit    is over
    with calls for the client               is over; what the client did not see is kept for its coming back
    with code                               goes on: the model is told what its code did
    in which code failed                    ``interrupt``: is over
                                            ``repair``: goes on from the failing statement, generation having stopped
                                            there (or, ``full``, at its own end, for comparison)
                                            ``continue``: goes on as if nothing had happened
The last turn that a request may have goes without tools, so that there is an answer. What makes it the last is the
number of turns, the number of repairs in a row, or the time that its code took.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from app.errors import EagerError, UpstreamRefused
from app.events import ChatMessage, Done, Start, TurnEnd
from app.extraction.assistant_message import has_echoes
from app.extraction.names import CODE_TOOLS, declared_tools
from app.extraction.turn import TurnReader
from app.ids import new_id
from app.pipeline.allotment import Allotment
from app.pipeline.block import Block
from app.pipeline.emitter import Emitter, SendEvent
from app.pipeline.executor import Executor
from app.pipeline.failure import report_failure, report_unfinished
from app.pipeline.follow_up import follow_up
from app.pipeline.generation import Generation
from app.pipeline.place import NewPlace, Place
from app.pipeline.queue import ExecutionQueue
from app.pipeline.stopwatch import Stopwatch
from app.pipeline.transaction import NoTransaction, RollbackPolicy, Transaction
from app.pipeline.usage import Usage, add_usage, estimated_usage, totals
from app.pipeline.work_folder import WorkFolderWatch
from app.scheduling.gate import Policy
from app.upstream.completions import Completions
from app.upstream.refusal import refuses_streams
from app.usage import used_by_request

log = logging.getLogger(__name__)


OnFailure = Literal["interrupt", "continue", "repair"]
RepairFrom = Literal["partial", "full"]

#: Given the ids of the calls that the client was shown last, and all messages between the client's own and its answer
#: to them: more than it was shown.
KeepHidden = Callable[[Sequence[str], Sequence[ChatMessage]], Awaitable[None]]
#: Given the number of a turn with code, and the messages that tell the model of it: its answer, and what its code did.
KeepTurn = Callable[[int, Sequence[ChatMessage]], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a request may choose.

    Attributes:
        max_turns: calls of the upstream.
        max_repairs: failed turns in a row.
        max_calls: of code tools, in all turns together; None for any number.
        timeout_s: for all code of the request together.
        own_tools: those of ``tools`` that the client has not declared; it is never shown a call of theirs.
        code_keys: by tool, the argument that holds the code, where the tool's schema tells.
        whole: the client waits for the whole answer and does not read a stream.
    """

    mode: Literal["eager", "serial"] = "eager"
    on_error: OnFailure = "interrupt"
    repair_from: RepairFrom = "partial"
    max_repairs: int = 3
    rollback: RollbackPolicy = "off"
    sources: frozenset[str] = frozenset({"tool", "fence", "tag"})
    tools: frozenset[str] = CODE_TOOLS
    own_tools: frozenset[str] = frozenset()
    code_keys: Mapping[str, str] = field(default_factory=dict)
    gate: Policy = "permissive"
    max_turns: int = 1
    max_calls: int | None = None
    timeout_s: float = 120.0
    headers: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def stop_on_error(self) -> bool:
        """Whether failing code ends generation."""
        return self.on_error == "interrupt" or (self.on_error == "repair" and self.repair_from == "partial")


async def run(
    body: dict[str, Any],
    options: RunOptions,
    *,
    request_id: str,
    upstream: Completions,
    place: Place,
    send: SendEvent,
    keep_hidden: KeepHidden | None = None,
    keep_turn: KeepTurn | None = None,
) -> None:
    """Run one request. ``body`` is the upstream's chat-completions request, without our own fields; ``place`` is asked
    for a sandbox when code begins.

    Raises:
        UpstreamError: before any event but ``start``; later failures are events.
    """
    await _Request(body, options, request_id, upstream, place, send, keep_hidden, keep_turn).run()


class _Request:
    def __init__(
        self,
        body: dict[str, Any],
        options: RunOptions,
        request_id: str,
        upstream: Completions,
        place: Place,
        send: SendEvent,
        keep_hidden: KeepHidden | None,
        keep_turn: KeepTurn | None,
    ) -> None:
        self._body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self._options = options
        self._id = request_id
        self._upstream = upstream
        self._place = place
        self._keep_hidden = keep_hidden
        self._keep_turn = keep_turn
        self._given = len(body["messages"])
        self._allotment = Allotment(body, calls=options.max_calls)
        self._declared = declared_tools(body.get("tools"))
        self._emitter = Emitter(send)
        self._stopwatch = Stopwatch()
        self._budget_s = options.timeout_s
        self._repairs = 0
        self._did: list[tuple[str, str]] = []
        self._usage: Usage | None = None
        self._folder = WorkFolderWatch()
        self._generation: Generation | None = None

    async def run(self) -> None:
        finish_reason = "error"
        failure: EagerError | None = None
        try:
            finish_reason = await self._turns()
        except* EagerError as group:
            failure = _first(group)
        if failure is not None:
            if self._emitter.count == 0:
                raise failure
            await self._report(failure)
        await self._emitter.emit(Done(finish_reason=finish_reason, usage=self._usage, timing=self._stopwatch.timing()))

    async def _report(self, failure: EagerError) -> None:
        log.warning("request %s failed: %s", self._id, failure.message)
        if self._generation is not None:
            await report_unfinished(self._emitter, self._generation.blocks.values())
            await self._end_turn(self._generation, self._generation.usage)
        await report_failure(self._emitter, failure)

    async def _end_turn(self, generation: Generation, usage: Usage | None) -> None:
        """Tell that the answer is over, unless that was told when it came to its end."""
        if not generation.end_was_sent:
            await self._emitter.emit(TurnEnd(turn=generation.turn, finish_reason=None, usage=usage))
        self._generation = None

    async def _turns(self) -> str:
        """All turns; returns the reason why the last one was the last."""
        for turn in range(self._options.max_turns):
            last = turn + 1 == self._options.max_turns or self._repairs_used_up or self._budget_s <= 0
            self._body = self._allotment.rest(self._body, self._options.tools)
            if last and turn:
                self._forbid_calls()
            generation, stopped = await self._turn(turn)
            usage = _usage_of(generation, stopped)
            await self._end_turn(generation, usage)
            self._usage = add_usage(self._usage, usage)
            used_by_request().tokens += totals(usage)[2]
            told = follow_up(generation, stopped=stopped is not None, code_keys=self._options.code_keys)
            if generation.blocks and self._keep_turn is not None:
                await self._keep_turn(turn, told)
            if (reason := self._reason_to_end(generation, stopped)) is not None:
                return reason
            if last and not generation.foreign_calls:
                return "stop" if stopped is None else "interrupt"
            self._body["messages"] = [*self._body["messages"], *told]
            if generation.foreign_calls:
                await self._keep(generation)
                return "tool_calls"
            self._allotment.spend(usage, deltas=generation.deltas, calls=generation.calls)
            if not self._allotment.has_tokens:
                return "length"
            ran = (block for block in generation.blocks.values() if not block.beyond_limit)
            failed = any(block.status not in ("ok", "incomplete") for block in ran)
            self._repairs = self._repairs + 1 if failed else 0
            self._release_choice()
        raise AssertionError("a request has at least one turn")

    def _reason_to_end(self, generation: Generation, stopped: str | None) -> str | None:
        if stopped is None:
            if generation.finish_reason in ("length", "content_filter"):
                return generation.finish_reason
            if self._is_repetition(generation):
                return "stop"
            if generation.foreign_calls:
                return None
            # A failure ends the request also where the answer had come to its end by then, as in serial mode always.
            over = self._options.on_error == "interrupt" and any(map(_has_failed, generation.blocks.values()))
            return "stop" if over or not generation.blocks else None
        if self._options.on_error == "interrupt":
            return "timeout" if stopped == "timeout" else "interrupt"
        return None

    def _is_repetition(self, generation: Generation) -> bool:
        """Whether all there is is code in the content that did the same as that of the turn before. Some models, told
        what it did, write their answer once more, code and all; no ``tool_choice`` keeps them from it."""
        blocks = [block for block in generation.blocks.values() if block.source != "tool"]
        did = [(block.code, str(block.transcript)) for block in blocks]
        repeated = bool(did) and did == self._did and len(blocks) == len(generation.blocks)
        self._did = did
        return repeated and not generation.foreign_calls

    @property
    def _repairs_used_up(self) -> bool:
        return self._options.on_error == "repair" and self._repairs > self._options.max_repairs

    def _forbid_calls(self) -> None:
        if self._body.get("tools"):
            self._body["tool_choice"] = "none"

    def _release_choice(self) -> None:
        """A forced choice would call the tool for ever."""
        if self._body.get("tool_choice") not in ("auto", "none"):
            self._body.pop("tool_choice", None)

    async def _keep(self, generation: Generation) -> None:
        hidden = self._body["messages"][self._given :]
        # What the model has thought the client saw too, but most SDKs do not send it back, and some upstreams want it.
        if self._keep_hidden is not None and (len(hidden) > 1 or has_echoes(hidden[0])):  # else it saw all of it
            await self._keep_hidden([call.id for call in generation.foreign_calls], hidden)

    async def _turn(self, turn: int) -> tuple[Generation, str | None]:
        options, emitter = self._options, self._emitter
        clock = self._stopwatch.turn(emitter.now_s())
        queue = ExecutionQueue()
        generation = Generation(
            TurnReader(
                sources=options.sources,
                tools=options.tools,
                new_id=partial(new_id, "call"),
                code_keys=options.code_keys,
                own_tools=options.own_tools,
                declared=self._declared,
            ),
            turn=turn,
            emitter=emitter,
            queue=queue,
            clock=clock,
            stopwatch=self._stopwatch,
            policy=options.gate,
            grammar=self._place.python_version,
            prepare=self._place.prepare,
            serial=options.mode == "serial",
            stop_on_problem=options.stop_on_error,
            max_calls=self._allotment.calls,
        )
        async with AsyncExitStack() as connection:
            stream = await self._ask(connection)
            self._generation = generation
            if turn == 0:
                if isinstance(self._place, NewPlace):
                    await self._place.session()
                await emitter.emit(
                    Start(
                        id=self._id,
                        model=str(self._body.get("model")),
                        session=self._place.name,
                        container_id=self._place.container_id,
                    )
                )
            async with asyncio.TaskGroup() as tasks:
                producer = tasks.create_task(generation.run(stream, close=connection.aclose))
                executor = Executor(
                    self._place,
                    emitter=emitter,
                    queue=queue,
                    clock=clock,
                    transaction=self._transaction(),
                    folder=self._folder,
                    on_error="interrupt" if options.stop_on_error else "continue",
                    budget_s=self._budget_s,
                    stop_generation=lambda: not generation.shown_calls and producer.cancel(),
                )
                try:
                    await executor.run()
                finally:
                    self._budget_s = executor.budget_s
        return generation, "error" if generation.stopped else executor.stopped

    async def _ask(self, connection: AsyncExitStack) -> AsyncIterator[Sequence[str]]:
        """The upstream's answer. A client that waits for all of it does not need a stream: where the upstream refuses
        one, it is asked as the client has asked."""
        headers = self._options.headers
        try:
            return await connection.enter_async_context(self._upstream.stream(self._body, headers))
        except UpstreamRefused as refused:
            if not (self._options.whole and refuses_streams(refused)):
                raise
        self._body = {name: value for name, value in self._body.items() if name not in ("stream", "stream_options")}
        return await connection.enter_async_context(self._upstream.stream(self._body, headers))

    def _transaction(self) -> Transaction | NoTransaction:
        policy = self._options.rollback
        return NoTransaction() if policy == "off" else Transaction(self._emitter, policy)


def _has_failed(block: Block) -> bool:
    return block.refused is None and not block.beyond_limit and block.status not in ("ok", "incomplete")


def _usage_of(generation: Generation, stopped: str | None) -> Usage | None:
    if generation.usage is None and stopped is not None:
        return estimated_usage(generation.deltas)
    return generation.usage


def _first(group: BaseExceptionGroup[EagerError]) -> EagerError:
    """The error that ended the group: the others are its consequences."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
