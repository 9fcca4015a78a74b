"""After an error the model goes on from the failing statement: what it is told, and how often."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.events import ChatMessage, CodeEnd, ExecStart, Interrupt, Token, ToolCall, ToolCallDelta
from app.pipeline.run import RunOptions
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Failure, Output
from tests.fakes.session import failing
from tests.pipeline.test_run import Request

PYTHON = {"type": "function", "function": {"name": "python"}}


def arguments(message: ChatMessage) -> Any:
    (call,) = message["tool_calls"]
    return json.loads(call["function"]["arguments"])


def fail_once(request: Request, part: str, execution: Execution) -> None:
    """The fake fails whatever holds ``part`` each time; the repaired code leaves it out."""
    request.session.fails[part] = execution


async def interrupted(request: Request, *fragments: str) -> None:
    request.upstream.closed.clear()
    request.upstream.code(*fragments)
    await request.upstream.closed.wait()


async def test_the_model_goes_on_from_the_failing_statement() -> None:
    request = Request(on_error="repair", max_turns=5)
    request.session.says["print"] = [Output("stdout", "one\n")]
    fail_once(request, "boom", failing(line=2, chunk=1))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await interrupted(request, "print(1)\n", "boom()\n", "c = 3\n", "d =")
        request.upstream.delta({"content": "Fixed."})
        request.upstream.finish("stop", usage={"completion_tokens": 2, "total_tokens": 9})
    assistant, tool = request.upstream.requests[1]["messages"][1:]
    assert arguments(assistant) == {"code": "print(1)\nboom()\n"}
    assert tool["tool_call_id"] == assistant["tool_calls"][0]["id"]
    assert tool["content"].startswith("one\nTraceback")
    assert "1 statement ran to the end. The next one failed, and nothing after it was run." in tool["content"]
    assert "do not run those statements again" in tool["content"]
    assert request.events[-1].finish_reason == "stop"  # type: ignore[attr-defined]


async def test_an_answer_cut_short_is_counted_and_marked() -> None:
    request = Request(on_error="repair", max_turns=5)
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await interrupted(request, "boom()\n")
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
    usage = request.events[-1].usage  # type: ignore[attr-defined]
    assert usage == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9, "estimated": True}


async def test_later_calls_of_the_turn_are_forgotten() -> None:
    request = Request(on_error="repair", max_turns=5)
    request.session.hold = "slow"
    fail_once(request, "slow", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("first()\n", id="call_0", index=0)
        request.upstream.end_code(0)
        request.upstream.code("slow()\n", id="call_1", index=1)
        await request.session.running.wait()
        request.upstream.end_code(1)
        request.upstream.code("never()\n", id="call_2", index=2)
        await request.wait_for(Token, 3)
        request.session.release.set()
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assistant, *results = request.upstream.requests[1]["messages"][1:]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_0", "call_1"]
    assert [result["tool_call_id"] for result in results] == ["call_0", "call_1"]
    assert results[0]["content"] == "(no output)"


@pytest.mark.parametrize("given", ['{"code": " "}', '{"file": 5}', ""])
async def test_a_call_without_code_is_told_so(given: str) -> None:
    request = Request(on_error="repair", max_turns=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        function = {"name": "python", "arguments": given}
        request.upstream.delta({"tool_calls": [{"index": 0, "id": "c", "function": function}]})
        request.upstream.finish()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assert request.upstream.requests[1]["messages"][-1]["content"] == "\n[There was no code in the call.]"


async def test_code_that_can_never_compile_is_shown_to_the_end_of_its_line() -> None:
    request = Request(on_error="repair", max_turns=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await interrupted(request, "a = 1\n", "x = (1]\ny = 2\nz = 3\n")
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assistant, tool = request.upstream.requests[1]["messages"][1:]
    assert arguments(assistant) == {"code": "a = 1\nx = (1]\n"}
    assert "SyntaxError" in tool["content"]
    assert [start.chunks for start in request.of(ExecStart)] == [[0]]


async def test_code_in_the_content_is_cut_there() -> None:
    request = Request(on_error="repair", max_turns=5)
    fail_once(request, "boom", failing(chunk=1))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        for text in ("So:\n```python\n", "a = 1\n", "boom()\n", "never()\n", "more"):
            request.upstream.delta({"content": text})
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assistant, told = request.upstream.requests[1]["messages"][1:]
    assert assistant == {"role": "assistant", "content": "So:\n```python\na = 1\nboom()\n"}
    assert told["role"] == "user"
    assert "1 statement ran" in told["content"]


async def test_code_is_told_under_the_tools_own_argument() -> None:
    request = Request(on_error="repair", max_turns=5, code_keys={"python": "query"})
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await interrupted(request, "boom()\n", "x =")
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assert arguments(request.upstream.requests[1]["messages"][1]) == {"query": "boom()\n"}


async def test_code_is_told_with_its_language() -> None:
    request = Request(on_error="repair", max_turns=5)
    fail_once(request, "false", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        function = {"name": "execute", "arguments": '{"language": "bash", "code": "false\\n'}
        request.upstream.delta({"tool_calls": [{"index": 0, "id": "c", "function": function}]})
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assert arguments(request.upstream.requests[1]["messages"][1]) == {"code": "false\n", "language": "bash"}


async def test_where_only_a_time_limit_stops_the_answer_what_ran_before_it_is_told() -> None:
    request = Request(on_error="repair", repair_from="full", max_turns=5)
    fail_once(request, "boom", failing())
    fail_once(request, "slow", Execution("timeout", 0, [], Failure(0, 0, "TimeoutError", "time limit", "")))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        for index, code in enumerate(("boom()\n", "fine()\n")):
            request.upstream.code(code, id=f"call_{index}", index=index)
            request.upstream.end_code(index)
        request.upstream.code("slow()\n", id="call_2", index=2)
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    results = request.upstream.requests[1]["messages"][2:]
    assert [result["tool_call_id"] for result in results] == ["call_0", "call_1", "call_2"]
    assert results[1]["content"] == "(no output)"


async def test_from_the_full_code_generation_goes_on_to_its_end() -> None:
    request = Request(on_error="repair", repair_from="full", max_turns=5)
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("boom()\n")
        await request.wait_for(CodeEnd)
        request.upstream.code("never()\n", id="")
        request.upstream.end_code()
        request.upstream.finish(usage={"total_tokens": 5})
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop", usage={"total_tokens": 6})
    assistant, tool = request.upstream.requests[1]["messages"][1:]
    assert arguments(assistant) == {"code": "boom()\nnever()\n"}
    assert "The first statement failed, and nothing after it was run." in tool["content"]
    assert request.of(Interrupt) == []
    assert request.events[-1].usage == {"total_tokens": 11}  # type: ignore[attr-defined]


async def test_a_lost_interpreter_is_told_to_the_model() -> None:
    request = Request(on_error="repair", max_turns=5)
    fail_once(request, "crash", Execution("lost", 0, [], Failure(0, 0, "InterpreterKilled", "signal 11", "")))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await interrupted(request, "a = 1\n", "crash()\n")
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    told = request.upstream.requests[1]["messages"][-1]["content"]
    assert "all variables and imports are gone" in told
    assert "still there" not in told


async def repeatedly_failing(request: Request, *, turns: int) -> None:
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run({"tools": [PYTHON]}))
        for _ in range(turns):
            await interrupted(request, "boom()\n")
        request.upstream.delta({"content": "I give up."})
        request.upstream.finish("stop")


async def test_after_the_last_repair_the_model_must_answer_without_code() -> None:
    request = Request(on_error="repair", max_repairs=2, max_turns=9)
    await repeatedly_failing(request, turns=3)
    choices = [sent.get("tool_choice") for sent in request.upstream.requests]
    assert choices == [None, None, None, "none"]


async def test_the_last_turn_goes_without_tools() -> None:
    request = Request(on_error="repair", max_turns=2)
    await repeatedly_failing(request, turns=1)
    assert [sent.get("tool_choice") for sent in request.upstream.requests] == [None, "none"]


async def test_a_success_gives_all_repairs_back() -> None:
    request = Request(on_error="repair", max_repairs=1, max_turns=9)
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run({"tools": [PYTHON]}))
        for _ in range(2):
            await interrupted(request, "boom()\n")
            request.upstream.closed.clear()
            request.upstream.code("fine()\n")
            request.upstream.end_code()
            request.upstream.finish()
            await request.upstream.closed.wait()
        request.upstream.delta({"content": "Done."})
        request.upstream.finish("stop")
    assert all("tool_choice" not in sent for sent in request.upstream.requests)


async def test_when_the_time_for_code_is_over_the_model_must_answer_without_it() -> None:
    request = Request(on_error="repair", max_turns=9, timeout_s=1e-9)
    fail_once(request, "slow", Execution("timeout", 0, [], Failure(0, 0, "TimeoutError", "time limit", "")))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run({"tools": [PYTHON]}))
        await interrupted(request, "slow()\n")
        request.upstream.delta({"content": "It takes too long."})
        request.upstream.finish("stop")
    assert [sent.get("tool_choice") for sent in request.upstream.requests] == [None, "none"]
    assert "The time limit was reached" in request.upstream.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("choice", "then"),
    [
        ({"type": "function", "function": {"name": "python"}}, None),
        ("required", None),
        ("auto", "auto"),
        ("none", "none"),
    ],
)
async def test_a_forced_tool_choice_is_for_the_first_turn(choice: object, then: object) -> None:
    request = Request(max_turns=9)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run({"tools": [PYTHON], "tool_choice": choice}))
        request.upstream.code("fine()\n")
        request.upstream.end_code()
        request.upstream.finish()
        request.upstream.delta({"content": "Done."})
        request.upstream.finish("stop")
    assert [sent.get("tool_choice") for sent in request.upstream.requests] == [choice, then]


def weather(request: Request, *, index: int, fragment: str = "", id: str = "call_w") -> None:
    function = {"name": "get_weather", "arguments": fragment} if id else {"arguments": fragment}
    head = {"id": id, "type": "function"} if id else {}
    request.upstream.delta({"tool_calls": [{"index": index, **head, "function": function}]})


async def test_a_call_the_client_has_seen_the_beginning_of_is_never_cut_off() -> None:
    request = Request(on_error="repair", max_turns=5)
    fail_once(request, "boom", failing())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        weather(request, index=0, fragment='{"city":')
        await request.wait_for(ToolCallDelta)
        request.upstream.code("boom()\n", index=1)
        await request.wait_for(CodeEnd)
        weather(request, index=0, fragment=' "Paris"}', id="")
        request.upstream.end_code(1)
        request.upstream.finish()
    assert "".join(delta.arguments for delta in request.of(ToolCallDelta)) == '{"city": "Paris"}'
    assert request.one(ToolCall).arguments == '{"city": "Paris"}'
    assert request.of(Interrupt) == []
    assert request.events[-1].finish_reason == "tool_calls"  # type: ignore[attr-defined]
    (hidden,) = request.kept.values()
    assistant, tool = hidden
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_w", "call_1"]
    assert "failed" in tool["content"]


async def test_what_the_client_was_not_shown_is_kept_under_its_calls() -> None:
    request = Request(on_error="repair", max_turns=5)
    request.session.says["print"] = [Output("stdout", "hi\n")]
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("first()\n")
        request.upstream.end_code()
        request.upstream.finish()
        request.upstream.code("print()\n", id="call_2", index=0)
        weather(request, index=1, fragment="{}")
        request.upstream.end_code(0)
        request.upstream.finish()
    assert request.of(ToolCallDelta) == []  # while code was being written it was held back
    ((ids, hidden),) = request.kept.items()
    assert ids == ("call_w",)
    assert [message["role"] for message in hidden] == ["assistant", "tool", "assistant", "tool"]
    assert hidden[-1] == {"role": "tool", "tool_call_id": "call_2", "content": "hi\n"}


async def test_a_plain_call_of_the_client_leaves_nothing_to_keep() -> None:
    request = Request(on_error="repair", max_turns=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        weather(request, index=0, fragment="{}")
        request.upstream.finish()
    assert request.kept == {}


async def test_an_answer_that_repeats_its_code_and_output_is_the_last() -> None:
    request = Request(on_error="repair", max_turns=9)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        for _ in range(2):
            request.upstream.delta({"content": "```python\nsame()\n```\n"})
            request.upstream.finish("stop")
    assert len(request.upstream.requests) == 2
    assert request.events[-1].finish_reason == "stop"  # type: ignore[attr-defined]
    ids = [end.call_id for end in request.of(CodeEnd)]  # made for code in content
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") for id in ids)


def test_only_repair_from_partial_code_and_interrupt_stop_generation() -> None:
    assert RunOptions(on_error="interrupt").stop_on_error
    assert RunOptions(on_error="repair").stop_on_error
    assert not RunOptions(on_error="repair", repair_from="full").stop_on_error
    assert not RunOptions(on_error="continue").stop_on_error
