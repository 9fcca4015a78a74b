"""One request, from its first upstream call to ``done``.

A turn is one upstream answer: generation and execution side by side in one TaskGroup, joined before the next turn
begins. Leaving a turn in any way closes the upstream stream; cancelling the request also interrupts the code
(``Session.execute``). An upstream that fails after the first event ends the request with ``error`` and ``done``.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from app.errors import EagerError
from app.events import Done, Error, ErrorBody, Start
from app.extraction.names import CODE_TOOLS
from app.extraction.turn import TurnReader
from app.pipeline.block import Block, code_end
from app.pipeline.emitter import Emitter, Send
from app.pipeline.executor import Executor, OnError
from app.pipeline.follow_up import follow_up
from app.pipeline.generation import Generation
from app.pipeline.queue import ExecutionQueue
from app.pipeline.stopwatch import Stopwatch
from app.pipeline.usage import Usage, add_usage
from app.sandbox.session import Session
from app.scheduling.gate import Policy
from app.upstream.client import Upstream

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a request may choose. ``max_turns`` counts upstream calls; ``timeout_s`` is for all code of the request."""

    mode: Literal["eager", "serial"] = "eager"
    on_error: OnError = "interrupt"
    sources: frozenset[str] = frozenset({"tool", "fence", "tag"})
    tools: frozenset[str] = CODE_TOOLS
    gate: Policy = "permissive"
    max_turns: int = 1
    timeout_s: float = 120.0
    headers: dict[str, str] = field(default_factory=dict)


async def run(
    body: dict[str, Any],
    options: Options,
    *,
    request_id: str,
    upstream: Upstream,
    session: Session,
    session_name: str,
    send: Send,
) -> None:
    """Run one request. ``body`` is the upstream's chat-completions request, without our own fields.

    Raises:
        UpstreamError: before any event but ``start``; later failures are events.
    """
    await _Request(body, options, request_id, upstream, session, session_name, send).run()


class _Request:
    def __init__(
        self,
        body: dict[str, Any],
        options: Options,
        request_id: str,
        upstream: Upstream,
        session: Session,
        session_name: str,
        send: Send,
    ) -> None:
        self._body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self._options = options
        self._id = request_id
        self._upstream = upstream
        self._session = session
        self._session_name = session_name
        self._emitter = Emitter(send)
        self._stopwatch = Stopwatch()
        self._budget_s = options.timeout_s
        self._usage: Usage | None = None
        self._blocks: dict[str, Block] = {}

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
        """Nothing that was received is passed over in silence: unfinished code is reported before the error."""
        log.warning("request %s failed: %s", self._id, failure.message)
        for block in self._blocks.values():
            if block.status is None:
                block.status = "incomplete"
                await self._emitter.emit(code_end(block))
        await self._emitter.emit(Error(error=ErrorBody(failure.message, failure.type, failure.param, failure.code)))

    async def _turns(self) -> str:
        """All turns; returns the reason why the last one was the last."""
        for turn in range(self._options.max_turns):
            generation, stopped = await self._turn(turn)
            self._usage = add_usage(self._usage, generation.usage)
            if stopped is not None:
                return "timeout" if stopped == "timeout" else "interrupt"
            if generation.foreign_calls:
                return "tool_calls"
            if generation.finish_reason in ("length", "content_filter"):
                return generation.finish_reason
            if not generation.blocks:
                break
            self._body["messages"] = [*self._body["messages"], *follow_up(generation)]
            self._body.pop("tool_choice", None)  # a forced choice would call the tool for ever
        return "stop"

    async def _turn(self, turn: int) -> tuple[Generation, str | None]:
        options, emitter = self._options, self._emitter
        clock = self._stopwatch.turn(emitter.now_s())
        queue = ExecutionQueue()
        generation = Generation(
            TurnReader(sources=options.sources, tools=options.tools),
            turn=turn,
            emitter=emitter,
            queue=queue,
            clock=clock,
            stopwatch=self._stopwatch,
            policy=options.gate,
            grammar=self._session.python_version,
            serial=options.mode == "serial",
            stop_on_problem=options.on_error != "continue",
        )
        self._blocks = generation.blocks
        async with self._upstream.stream(self._body, options.headers) as stream:
            if turn == 0:
                await emitter.emit(
                    Start(
                        id=self._id,
                        model=str(self._body.get("model")),
                        session=self._session_name,
                        container_id=self._session.id,
                    )
                )
            async with asyncio.TaskGroup() as tasks:
                producer = tasks.create_task(generation.run(stream))
                executor = Executor(
                    self._session,
                    emitter=emitter,
                    queue=queue,
                    clock=clock,
                    on_error=options.on_error,
                    budget_s=self._budget_s,
                    stop_generation=producer.cancel,
                )
                try:
                    await executor.run()
                finally:
                    self._budget_s = executor.budget_s
        return generation, "error" if generation.stopped else executor.stopped


def _first(group: BaseExceptionGroup[EagerError]) -> EagerError:
    """The error that ended the group: the others are its consequences."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
