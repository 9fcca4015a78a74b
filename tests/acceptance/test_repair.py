"""An early error closes the upstream at once; the model goes on from there."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.acceptance.chat import ask, body
from tests.acceptance.upstream import Upstream

CONTAINER = {"type": "auto"}
#: Sixty statements; the tenth fails.
BEFORE = "print('began')\n" + "".join(f"value_{n} = {n} * 2\n" for n in range(2, 10))
FAILING = "raise ValueError(value_9)\n"
PROGRAM = BEFORE + FAILING + "".join(f"value_{n} = {n} * 2\n" for n in range(11, 61))


async def test_an_early_error_costs_few_tokens_and_the_model_is_told_exactly_what_ran(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    request = body("program/25", PROGRAM, eager={"events": True}, stream_options={"include_usage": True})
    answer = await ask(gateway, request)

    first, second = upstream.asked
    assert first.left.wait(10)
    needed = len(BEFORE + FAILING) / 4
    assert first.tokens_sent < needed + 20
    user, assistant, tool = second.body["messages"]
    assert user == first.body["messages"][0]
    (call,) = assistant["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"code": BEFORE + FAILING}
    assert tool["tool_call_id"] == call["id"]
    assert tool["content"].startswith("began\n")
    assert "ValueError: 18" in tool["content"]
    assert "9 statements ran to the end" in tool["content"]

    assert answer.text.startswith("The tool said: began")
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] > 7  # the second turn's, and what came of the first
    assert "estimated" not in answer.usage
    assert answer.eager[-1]["usage"]["estimated"] is True
    assert [event["type"] for event in answer.eager].count("interrupt") == 1


async def test_an_early_error_costs_as_few_on_responses(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    request = {
        "model": "program/25",
        "input": PROGRAM,
        "tools": [{"type": "code_interpreter", "container": CONTAINER}],
    }
    response = await gateway.post("/v1/responses", json=request)
    first, second = upstream.asked
    assert first.left.wait(10)
    assert first.tokens_sent < len(BEFORE + FAILING) / 4 + 20
    (call,) = second.body["messages"][-2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"code": BEFORE + FAILING}
    shown, _ = response.json()["output"]
    assert shown["type"] == "code_interpreter_call"
    assert shown["code"].startswith(BEFORE + FAILING)  # and what else had been shown by then


async def test_from_the_full_code_the_upstream_is_heard_out(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    await ask(gateway, body("program", PROGRAM, eager={"repair_from": "full"}))
    _, second = upstream.bodies()
    (call,) = second["messages"][1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"code": PROGRAM}
    assert "9 statements ran to the end" in second["messages"][2]["content"]


async def test_the_eager_endpoint_interrupts_and_ends_unless_told_otherwise(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    ended = await gateway.post("/v1/eager/completions", json=body("program/25", PROGRAM))
    assert ended.json()["finish_reason"] == "interrupt"
    assert len(upstream.asked) == 1
    repaired = await gateway.post(
        "/v1/eager/completions", json=body("program/25", PROGRAM, eager={"on_error": "repair"})
    )
    assert repaired.json()["finish_reason"] == "stop"
    assert repaired.json()["content"].startswith("The tool said: began")


async def test_a_client_that_leaves_stops_the_upstream(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    request = body("program/100", "x = 1\n" * 1000, stream=True, eager={"events": True})
    async with gateway.stream("POST", "/v1/chat/completions", json=request) as response:
        async for line in response.aiter_lines():
            if "exec.end" in line:
                break
    (asked,) = upstream.asked
    assert asked.left.wait(10)


@pytest.mark.parametrize(("limit", "turns"), [({"max_repairs": 0}, 2), ({"max_turns": 1}, 1)])
async def test_limits_of_a_request(
    gateway: httpx.AsyncClient, upstream: Upstream, limit: dict[str, int], turns: int
) -> None:
    answer = await ask(gateway, body("program/25", PROGRAM, eager=limit))
    assert answer.finish_reason == "stop"
    assert [sent.get("tool_choice") for sent in upstream.bodies()] == [None, "none"][:turns]
