"""pydantic-ai-harness, ``CodeMode(eager=True)``: a model that streams one ``run_code`` call at a set pace.

A statement begins when the toolset hands its source to the interpreter (Monty), in ``_execute_code``: observed there,
since nothing is told to the outside before the one combined result.
"""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator
from typing import Any

from pace import Job, Told, clock, cpu_of, paced, serve, tokens_of
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    PartDeltaEvent,
    PartStartEvent,
    ToolCallPart,
    ToolCallPartDelta,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai_harness.code_mode import CodeMode
from pydantic_ai_harness.code_mode._eager import EagerCodeModeToolset, EagerCoordinator


async def run(job: Job) -> Told:
    code, tps = str(job["code"]), float(str(job["tps"]))
    fragments = [json.dumps(token)[1:-1] for token in tokens_of(code, int(str(job["chars"])))]
    fragments[0] = '{"code": "' + fragments[0]
    fragments[-1] += '"}'
    return await (_paced(code, fragments, tps) if tps else _unpaced(fragments, float(str(job["limit_s"]))))


async def _paced(code: str, fragments: list[str], tps: float) -> Told:
    sent_s: list[float] = []
    sources: list[tuple[str, float]] = []
    original = EagerCodeModeToolset._execute_code

    async def observed(self: Any, source: str, *rest: Any, **named: Any) -> Any:
        sources.append((source, clock()))
        return await original(self, source, *rest, **named)

    async def model(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[DeltaToolCalls | str]:
        if any(isinstance(part, ToolReturnPart) for message in messages for part in message.parts):
            yield "Done."
            return
        yield {0: DeltaToolCall(name="run_code", json_args="", tool_call_id="call_1")}
        async for fragment in paced(fragments, tps, sent_s):
            yield {0: DeltaToolCall(json_args=fragment)}

    agent: Agent[None, str] = Agent(
        FunctionModel(stream_function=model), capabilities=[CodeMode(eager=True)], retries=0
    )

    @agent.tool_plain
    def unused() -> None:
        """Code mode needs a tool."""

    EagerCodeModeToolset._execute_code = observed
    returned: Any = None
    ended, error = 0.0, None
    try:
        async with agent.run_stream_events("Go.") as events:
            async for event in events:
                part = getattr(event, "part", None) or getattr(event, "result", None)
                if isinstance(part, ToolReturnPart) and part.tool_name == "run_code":
                    returned, ended = part.content, clock()
    except Exception as failure:
        error, ended = f"{type(failure).__name__}: {failure}"[:500], clock()
    finally:
        EagerCodeModeToolset._execute_code = original
    output = returned.get("output", "") if isinstance(returned, dict) else str(returned or "")
    starts = [at for source, at in sources for _ in ast.parse(source).body]
    return {"sent_s": sent_s, "starts": starts, "end_s": ended or clock(), "stdout": output, "error": error}


class _Silent:
    """An executor that runs nothing."""

    async def feed_fragment(self, call: Any, source: str, ctx: Any) -> None:
        pass


class _Context:
    run_step = 1


async def _unpaced(fragments: list[str], limit_s: float) -> Told:
    coordinator: Any = EagerCoordinator()
    coordinator.run_pump = _nothing
    context, silent = _Context(), _Silent()
    start = PartStartEvent(index=0, part=ToolCallPart("run_code", "", tool_call_id="call_1"))
    await coordinator.observe(start, context, silent)

    async def feed(fragment: str) -> None:
        delta = PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta=fragment, tool_call_id="call_1"))
        await coordinator.observe(delta, context, silent)

    told = await cpu_of(fragments, feed, limit_s)
    told["stopped"] = coordinator.calls["call_1"].halted
    return told


async def _nothing(call: Any, ctx: Any, executor: Any) -> None:
    call.queue.clear()


if __name__ == "__main__":
    serve(run)
