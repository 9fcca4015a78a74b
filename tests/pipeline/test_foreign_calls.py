"""Calls for the client beside code: each call is answered once, by whoever runs it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from app.events import ChatMessage, CodeEnd, ExecEnd, Interrupt, ToolCall
from tests.fakes.session import failing
from tests.pipeline.test_run import Request

FAILURES: list[dict[str, Any]] = [
    {"on_error": "repair"},
    {"on_error": "repair", "repair_from": "full"},
    {"on_error": "continue"},
]


def call(request: Request, arguments: str, *, id: str = "", name: str = "execute", index: int = 0) -> None:
    head = {"id": id, "type": "function"} if id else {}
    function = {"name": name, "arguments": arguments} if id else {"arguments": arguments}
    request.upstream.delta({"tool_calls": [{"index": index, **head, "function": function}]})


def turns_foreign(request: Request, rest: str = "y") -> None:
    """Code has begun, and its language, which is none of ours, comes last."""
    call(request, rest + '", "language": "javascript"}')


def kept(request: Request) -> list[ChatMessage]:
    return next(iter(request.kept.values()), [])


def check_answers(messages: list[ChatMessage], *, by_the_client: set[str]) -> None:
    """Every call of ours is answered here, once and behind its own turn; the client's are there, unanswered."""
    calls = Counter(call["id"] for message in messages for call in message.get("tool_calls") or ())
    answers = Counter(message["tool_call_id"] for message in messages if message["role"] == "tool")
    assert set(calls.values()) <= {1}
    assert by_the_client <= set(calls)
    assert answers == Counter(set(calls) - by_the_client)


@pytest.mark.parametrize("options", FAILURES, ids=str)
async def test_a_call_that_turns_foreign_after_its_code_began_is_the_clients(options: dict[str, Any]) -> None:
    request = Request(max_turns=5, **options)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "x = 1\\n', id="c1")
        await request.wait_for(ExecEnd)
        turns_foreign(request)
        request.upstream.finish()
    assert request.one(ToolCall).arguments == '{"code": "x = 1\\ny", "language": "javascript"}'
    assert request.one(CodeEnd).status == "incomplete"
    assert request.events[-1].finish_reason == "tool_calls"  # type: ignore[attr-defined]
    assert len(request.upstream.requests) == 1
    assert request.kept == {}  # the client has seen all of it


GOES_ON = FAILURES[1:]


@pytest.mark.parametrize("options", GOES_ON, ids=str)
async def test_code_beside_it_that_fails_is_answered_here_and_it_is_not(options: dict[str, Any]) -> None:
    request = Request(max_turns=5, **options)
    await code_beside_it_fails(request)
    assert [seen.id for seen in request.of(ToolCall)] == ["c1"]
    check_answers(kept(request), by_the_client={"c1"})


async def test_code_beside_it_that_stops_the_turn_is_repaired_and_it_is_forgotten() -> None:
    request = Request(max_turns=5, on_error="repair")
    await code_beside_it_fails(request)
    assert request.of(ToolCall) == []
    assistant, result = messages = request.upstream.requests[1]["messages"][1:]
    check_answers(messages, by_the_client=set())
    assert [call["id"] for call in assistant["tool_calls"]] == ["c2"]
    assert "The first statement failed" in result["content"]


async def code_beside_it_fails(request: Request) -> None:
    request.session.fails["boom"] = failing()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "x = 1\\n', id="c1")
        await request.wait_for(ExecEnd)
        turns_foreign(request)
        call(request, '{"code": "boom()\\n', id="c2", name="python", index=1)
        await request.wait_for(CodeEnd, 2)
        if request.options.stop_on_error:
            await request.upstream.closed.wait()
            request.upstream.delta({"content": "Sorry."})
            request.upstream.finish("stop")
        else:
            call(request, '"}', index=1)
            request.upstream.finish()


async def test_a_call_that_the_client_has_seen_is_not_cut_off_by_code_that_fails_later() -> None:
    """An upstream without indices ends a call where the next one begins."""
    request = Request(on_error="repair", max_turns=5)
    request.session.hold = "boom"
    request.session.fails["boom"] = failing()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "boom()\\n', id="c0", name="python")
        await request.session.running.wait()
        call(request, '"}')
        call(request, "{}", id="w", name="get_weather", index=1)
        request.upstream.delta({}, finish="tool_calls")
        await request.wait_for(ToolCall)
        request.session.release.set()
        await request.wait_for(CodeEnd)
        request.upstream.finish()
    assert request.of(Interrupt) == []
    assert request.events[-1].finish_reason == "tool_calls"  # type: ignore[attr-defined]
    check_answers(kept(request), by_the_client={"w"})


async def test_code_that_failed_before_its_language_came_is_ours() -> None:
    request = Request(on_error="repair", max_turns=5)
    request.session.fails["x = 1"] = failing()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "x = 1\\n', id="c1")
        await request.upstream.closed.wait()  # the rest is never read
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assert request.of(ToolCall) == []
    check_answers(request.upstream.requests[1]["messages"][1:], by_the_client=set())


OWN: dict[str, Any] = {"own_tools": frozenset({"execute"}), "max_turns": 5, "on_error": "repair"}


async def test_a_call_in_another_language_of_a_tool_that_the_client_does_not_know_is_answered_here() -> None:
    request = Request(**OWN)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"language": "javascript", "code": "x"}', id="c1")
        request.upstream.finish()
        call(request, '{"language": "bash", "code": "ls"}', id="c2")
        request.upstream.finish()
        request.upstream.delta({"content": "Done."})
        request.upstream.finish("stop")
    assert request.of(ToolCall) == []
    assert [end.code for end in request.of(CodeEnd)] == ["ls"]
    assert request.events[-1].finish_reason == "stop"  # type: ignore[attr-defined]
    messages = request.upstream.requests[2]["messages"][1:]
    check_answers(messages, by_the_client=set())
    assert "only Python and bash run here, not 'javascript'" in messages[1]["content"]


@pytest.mark.parametrize(("language", "told"), [("javascript", "only Python and bash"), ("bash", "language before it")])
async def test_one_whose_language_came_behind_its_code_is_told_what_ran(language: str, told: str) -> None:
    request = Request(**OWN)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "x = 1\\n', id="c1")
        await request.wait_for(ExecEnd)
        call(request, f'y", "language": "{language}"}}')
        request.upstream.finish()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    assert request.of(ToolCall) == []
    messages = request.upstream.requests[1]["messages"][1:]
    check_answers(messages, by_the_client=set())
    assert told in messages[1]["content"]
    assert "Its beginning was run as python" in messages[1]["content"]


async def test_beside_a_clients_call_it_is_kept_with_what_is_hidden() -> None:
    request = Request(**OWN)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"language": "javascript", "code": "x"}', id="c1")
        call(request, "{}", id="w", name="get_weather", index=1)
        request.upstream.finish()
    assert [shown.id for shown in request.of(ToolCall)] == ["w"]
    assert request.events[-1].finish_reason == "tool_calls"  # type: ignore[attr-defined]
    check_answers(kept(request), by_the_client={"w"})


async def test_a_failure_before_it_leaves_every_call_answered() -> None:
    request = Request(**OWN)
    request.session.fails["boom"] = failing()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"language": "javascript", "code": "x"}', id="c1")
        call(request, '{"code": "boom\\n', id="c2", index=1)
        await request.upstream.closed.wait()
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")
    messages = request.upstream.requests[1]["messages"][1:]
    assert [call["id"] for call in messages[0]["tool_calls"]] == ["c1", "c2"]
    check_answers(messages, by_the_client=set())


async def test_what_ran_of_it_is_undone_where_that_was_asked_for() -> None:
    request = Request(rollback="on_syntax_error", max_turns=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        call(request, '{"code": "x = 1\\n', id="c1")
        await request.wait_for(ExecEnd)
        turns_foreign(request)
        request.upstream.finish()
    assert request.session.history == ["checkpoint", "x = 1\n", "", "rollback"]


async def test_what_the_model_thought_before_a_call_of_the_clients_is_kept_for_its_upstream() -> None:
    """Most SDKs do not send it back."""
    request = Request(max_turns=5)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.delta({"reasoning_content": "Hm."})
        call(request, "{}", id="w", name="get_weather")
        request.upstream.finish()
    [message] = kept(request)
    assert message["reasoning_content"] == "Hm."
