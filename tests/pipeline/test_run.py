"""Whole requests over fakes: which events come, in which order, and what is left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import UpstreamBroken, UpstreamRefused
from app.events import (
    ChatMessage,
    ChunkDetected,
    CodeEnd,
    Done,
    Error,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Interrupt,
    SessionLost,
    Token,
    ToolCall,
    TurnEnd,
)
from app.pipeline.place import AtHand
from app.pipeline.run import RunOptions, run
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Failure, Output, Result
from tests.fakes.session import FakeSession, failing
from tests.fakes.upstream import FakeUpstream


class Request:
    """One request over fakes; ``wait_for`` waits until an event of a type has come."""

    def __init__(self, **options: Any) -> None:
        self.upstream = FakeUpstream()
        self.session = FakeSession()
        self.events: list[Event] = []
        self.kept: dict[tuple[str, ...], list[ChatMessage]] = {}
        self.options = RunOptions(**options)
        self._came = asyncio.Condition()

    async def run(self, extra: dict[str, Any] | None = None) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "Go."}], **(extra or {})}
        await run(
            body,
            self.options,
            request_id="req",
            upstream=self.upstream,  # type: ignore[arg-type]
            place=AtHand(self.session, "ses_1"),
            send=self._receive,
            keep_hidden=self._keep,
        )

    async def _keep(self, ids: Sequence[str], hidden: Sequence[ChatMessage]) -> None:
        self.kept[tuple(ids)] = list(hidden)

    async def _receive(self, event: Event) -> None:
        async with self._came:
            self.events.append(event)
            self._came.notify_all()

    async def wait_for(self, kind: type[Event], count: int = 1) -> None:
        async with self._came:
            await self._came.wait_for(lambda: len(self.of(kind)) >= count)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[Event]) -> Any:
        (event,) = self.of(kind)
        return event


async def test_a_statement_runs_while_the_next_is_being_generated() -> None:
    request = Request()
    request.session.says["print(1)"] = [Output("stdout", "1\n")]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("print(1)\n")
        await request.wait_for(ExecEnd)  # nothing but the first statement was generated yet
        assert request.one(ExecOutput).text == "1\n"
        request.upstream.code("x = 2\n", id="")
        request.upstream.end_code()
        request.upstream.finish(usage={"total_tokens": 7})
    assert [event.seq for event in request.events] == list(range(len(request.events)))
    end = request.one(CodeEnd)
    assert (end.status, end.ran, end.chunks, end.code) == ("ok", 2, 2, "print(1)\nx = 2\n")
    done = request.events[-1]
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"
    assert done.usage == {"total_tokens": 7}
    assert (done.timing.chunks, done.timing.batches) == (2, 2)


async def test_calls_with_the_same_id_are_programs_of_their_own() -> None:
    request = Request(on_error="repair", max_turns=2)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = 1\n", "b = = 2\n", id="call_0")
        await request.upstream.closed.wait()
        request.upstream.code("b = 2\n", id="call_0")
        request.upstream.end_code()
        request.upstream.finish()
    first, *rest = request.session.executed
    assert (rest[-1].sources, rest[-1].final, rest[-1].cut) == (["b = 2\n"], True, False)
    assert rest[-1].block != first.block


@pytest.mark.parametrize("broken", ["b = = 2\n", None])
async def test_code_that_was_cut_short_has_an_end_in_its_sandbox(broken: str | None) -> None:
    request = Request()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = 1\n")
        await request.wait_for(ExecEnd)
        request.upstream.code(broken or "b = ", id="")
        if broken is None:
            request.upstream.finish("length")
    first, last = request.session.executed
    assert (first.sources, first.final, first.cut) == (["a = 1\n"], False, False)
    assert (last.block, last.sources, last.final, last.cut) == (first.block, [], True, True)


async def test_chunks_that_wait_for_the_executor_are_merged_into_one_batch() -> None:
    request = Request()
    request.session.hold = "slow"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("slow()\n")
        await request.session.running.wait()
        request.upstream.code("a = 1\n", "b = 2\n", id="")
        await request.wait_for(ChunkDetected, 3)
        request.session.release.set()
        request.upstream.end_code()
        request.upstream.finish()
    assert [start.chunks for start in request.of(ExecStart)] == [[0], [1, 2]]


async def test_serial_mode_runs_the_whole_program_after_the_last_token() -> None:
    request = Request(mode="serial")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = 1\n", "b = 2\n")
        request.upstream.end_code()
        await request.wait_for(Token, 2)
        assert request.session.executed == []
        request.upstream.finish()
    (executed,) = request.session.executed
    assert executed.sources == ["a = 1\nb = 2\n"]
    assert executed.final


async def test_an_error_closes_the_upstream_at_once_and_says_what_ran() -> None:
    request = Request()
    request.session.fails["boom"] = failing(line=2, chunk=1)
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            request.upstream.code("a = 1\n", "boom()\n", "c = 3")
            await request.upstream.closed.wait()
    error = request.one(ExecError)
    assert (error.ename, error.line, error.chunk) == ("ValueError", 2, 1)
    end = request.one(CodeEnd)
    assert (end.status, end.ran) == ("error", 1)
    assert request.one(Interrupt).reason == "error"
    assert request.one(Done).finish_reason == "interrupt"
    assert request.of(ExecEnd)[-1].status == "error"


@pytest.mark.parametrize("mode", ["eager", "serial"])
async def test_an_error_behind_the_last_token_is_the_end_as_well(mode: str) -> None:
    request = Request(mode=mode, max_turns=3)
    request.session.hold = "boom"
    request.session.fails["boom"] = failing()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("boom()\n")
        request.upstream.end_code()
        request.upstream.finish()
        await request.wait_for(TurnEnd)
        request.session.release.set()
    assert len(request.upstream.requests) == 1
    assert (request.one(CodeEnd).status, request.one(Done).finish_reason) == ("error", "stop")


async def test_with_continue_generation_goes_on_and_the_rest_of_the_block_is_dropped() -> None:
    request = Request(on_error="continue")
    request.session.fails["boom"] = failing()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("boom()\n")
        await request.wait_for(CodeEnd)
        request.upstream.code("never()\n", id="")
        request.upstream.end_code()
        request.upstream.code("second()\n", id="call_2", index=1)
        request.upstream.end_code(1)
        request.upstream.finish()
    assert [executed.sources for executed in request.session.executed][:2] == [["boom()\n"], ["second()\n"]]
    assert [(end.call_id, end.status) for end in request.of(CodeEnd)] == [("call_1", "error"), ("call_2", "ok")]
    assert request.of(Interrupt) == []
    assert request.one(Done).finish_reason == "stop"


async def test_under_interrupt_nothing_runs_after_a_failed_block() -> None:
    request = Request()
    request.session.hold = "slow"
    request.session.fails["slow"] = failing()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("slow()\n")
        await request.session.running.wait()
        request.upstream.end_code()
        request.upstream.code("second()\n", id="call_2", index=1)
        await request.wait_for(ChunkDetected, 2)
        request.session.release.set()
    assert [executed.sources for executed in request.session.executed] == [["slow()\n"]]
    assert [(end.call_id, end.status, end.ran) for end in request.of(CodeEnd)] == [
        ("call_1", "error", 0),
        ("call_2", "interrupted", 0),
    ]


async def test_a_syntax_error_is_reported_after_the_statements_before_it_and_stops_the_model() -> None:
    request = Request()
    request.session.says["print"] = [Output("stdout", "before\n")]
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            request.upstream.code('print("before")\n', "x = (1]\n", "y = 2\n")
            await request.upstream.closed.wait()
    kinds = [event for event in request.events if isinstance(event, ExecOutput | ExecError | CodeEnd)]
    assert [type(event) for event in kinds] == [ExecOutput, ExecError, CodeEnd]
    error, end = request.one(ExecError), request.one(CodeEnd)
    assert (error.ename, error.line, error.phase) == ("SyntaxError", 2, "compile")
    assert error.traceback == f'  File "main.py", line 2\n    x = (1]\nSyntaxError: {error.evalue}\n'
    assert (end.status, end.ran) == ("error", 1)


async def test_a_syntax_error_closes_the_upstream_while_earlier_code_still_runs() -> None:
    request = Request()
    request.session.hold = "slow"
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            request.upstream.code("slow()\n")
            await request.session.running.wait()
            request.upstream.code("x = (1]\n", "y = 2\n", id="")
            await request.upstream.closed.wait()
            assert request.of(ExecEnd) == []
            request.session.release.set()
    assert request.one(Interrupt).reason == "error"
    assert (request.one(CodeEnd).status, request.one(CodeEnd).ran) == ("error", 1)


async def test_the_value_of_a_last_expression_is_the_result() -> None:
    request = Request()
    request.session.says["6 * 7"] = [Result(1, {"text/plain": "42", "image/png": "aGk="})]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("6 * 7")
        request.upstream.end_code()
        request.upstream.finish()
    result = request.one(ExecResult)
    assert result.repr == "42"
    assert result.images == ["data:image/png;base64,aGk="]
    assert not result.display


async def test_truncated_code_runs_only_its_complete_statements() -> None:
    request = Request()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = 1\n", "b = 2")
        request.upstream.finish("length")
    assert [executed.sources for executed in request.session.executed] == [["a = 1\n"]]
    end = request.one(CodeEnd)
    assert (end.status, end.code) == ("incomplete", "a = 1\nb = 2")
    assert request.one(Done).finish_reason == "length"


async def test_an_upstream_that_refuses_is_an_error_before_any_event() -> None:
    request = Request()

    def refuse(*_: object) -> None:
        raise UpstreamRefused("slow down", status=429, type="requests")

    request.upstream.stream = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(UpstreamRefused):
        await request.run()
    assert request.events == []


async def test_an_upstream_that_breaks_stops_the_code_and_ends_with_error_and_done() -> None:
    request = Request()
    request.session.hold = "slow"
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            request.upstream.code("slow()\n", "x = ")
            await request.session.running.wait()
            request.upstream.fail(UpstreamBroken("connection lost"))
    assert request.session.cancelled
    assert [type(event) for event in request.events[-5:]] == [ExecEnd, CodeEnd, TurnEnd, Error, Done]
    assert request.one(CodeEnd).status == "incomplete"
    assert request.one(Error).error.message == "connection lost"
    assert request.one(Done).finish_reason == "error"


async def test_a_cancelled_request_closes_the_upstream_and_cancels_the_execution() -> None:
    request = Request()
    request.session.hold = "slow"
    task = asyncio.create_task(request.run())
    request.upstream.code("slow()\n", "x = ")
    await request.session.running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert request.session.cancelled
    assert request.upstream.closed.is_set()


async def test_an_unknown_tool_is_handed_to_the_client() -> None:
    request = Request()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
        request.upstream.delta({"tool_calls": [{"index": 0, "id": "call_w", "type": "function", "function": function}]})
        request.upstream.finish()
    call = request.one(ToolCall)
    assert (call.id, call.name, json.loads(call.arguments)) == ("call_w", "get_weather", {"city": "Paris"})
    assert request.one(Done).finish_reason == "tool_calls"


async def test_with_more_turns_the_model_is_told_what_its_code_did() -> None:
    request = Request(max_turns=3)
    request.session.says["print"] = [Output("stdout", "42\n")]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("print(42)\n")
        request.upstream.end_code()
        request.upstream.finish(usage={"total_tokens": 5})
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "It is 42."})
        request.upstream.finish("stop", usage={"total_tokens": 6})
    assistant, tool = request.upstream.requests[1]["messages"][1:]
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"code": "print(42)\n"}
    assert tool == {"role": "tool", "tool_call_id": "call_1", "content": "42\n"}
    assert [token.text for token in request.of(Token) if token.channel == "content"] == ["It is 42."]
    assert request.one(Done).usage == {"total_tokens": 11}


async def test_sys_exit_with_success_ends_the_block_and_lets_the_model_finish() -> None:
    request = Request()
    request.session.fails["sys.exit"] = Execution("exit", 0, [], exit_code=0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("sys.exit()\n")
        await request.wait_for(CodeEnd)
        request.upstream.code("never()\n", id="")
        request.upstream.end_code()
        request.upstream.finish()
    assert len(request.session.executed) == 1
    assert request.one(CodeEnd).status == "ok"
    assert request.of(ExecError) == []


async def test_a_lost_interpreter_is_told_with_the_error() -> None:
    request = Request()
    request.session.fails["crash"] = Execution("lost", 0, [], Failure(0, 0, "InterpreterKilled", "signal 11", ""))
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request.run())
            request.upstream.code("crash()\n", "x = 1\n")
            await request.upstream.closed.wait()
    assert request.one(SessionLost).reason == "InterpreterKilled"
    assert request.one(CodeEnd).status == "error"


async def test_definitions_wait_for_a_statement_that_is_worth_an_execution() -> None:
    request = Request()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("def f(): return 1\n", "def g(): return 2\n", "f()\n")
        await request.wait_for(ExecStart)
        request.upstream.end_code()
        request.upstream.finish()
    assert request.of(ExecStart)[0].chunks == [0, 1, 2]
    assert request.one(Done).timing.gates == {"low_yield": 2}


async def test_the_paper_policy_holds_effects_back_until_generation_is_over() -> None:
    request = Request(gate="paper")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("import os\n", "a = 1\n", "os.remove('x')\n", "b = 2\n")
        await request.wait_for(ChunkDetected, 4)
        await request.wait_for(ExecEnd)
        request.upstream.end_code()
        request.upstream.finish()
    ran = ["".join(executed.sources) for executed in request.session.executed]
    assert "os.remove" not in "".join(ran[:-1])
    assert ran[-1] == "os.remove('x')\nb = 2\n"


async def test_a_limit_of_tokens_is_one_of_all_turns_together() -> None:
    request = Request(max_turns=5)
    for _ in range(2):
        request.upstream.code("x = 1\n")
        request.upstream.end_code()
        request.upstream.finish(usage={"completion_tokens": 40})
    await request.run({"max_tokens": 100, "max_completion_tokens": 70})
    first, second = request.upstream.requests
    assert (first["max_tokens"], first["max_completion_tokens"]) == (100, 70)
    assert (second["max_tokens"], second["max_completion_tokens"]) == (60, 30)
    assert request.events[-1].finish_reason == "length"  # type: ignore[attr-defined]


async def test_calls_beyond_the_limit_are_not_run_nor_shown_and_the_model_is_told() -> None:
    request = Request(max_turns=5, max_calls=2)
    for index, code in enumerate(("a = 1\n", "b = 2\n", "c = 3\n")):
        request.upstream.code(code, id=f"call_{index}", index=index)
        request.upstream.end_code(index)
    request.upstream.finish()
    request.upstream.delta({"content": "Done."})
    request.upstream.finish("stop")
    weather = {"type": "function", "function": {"name": "get_weather"}}
    await request.run({"tools": [{"type": "function", "function": {"name": "python"}}, weather]})
    assert [end.code for end in request.of(CodeEnd)] == ["a = 1\n", "b = 2\n"]
    second = request.upstream.requests[1]
    assert second["tools"] == [weather]
    assert [message["tool_call_id"] for message in second["messages"][2:]] == ["call_0", "call_1", "call_2"]
    assert "no more calls are left" in second["messages"][-1]["content"]


async def test_without_any_call_left_the_model_calls_no_tool() -> None:
    request = Request(max_turns=5, max_calls=0)
    request.upstream.delta({"content": "Done."})
    request.upstream.finish("stop")
    await request.run({"tools": [{"type": "function", "function": {"name": "python"}}]})
    assert request.upstream.requests[0]["tool_choice"] == "none"
