"""POST /v1/chat/completions from the wire to the sandbox, over fakes at both ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.api.served import Served, served

INTERPRETER = {"type": "code_interpreter"}
JAVASCRIPT = {"name": "python", "arguments": '{"language": "javascript", "code": "1"}'}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


async def ask(gateway: Served, **fields: Any) -> dict[str, Any]:
    """The one choice of the answer."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Go."}], **fields}
    async with gateway.http() as http:
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def calls(gateway: Served, function: dict[str, Any]) -> None:
    gateway.upstream.delta({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
    gateway.upstream.finish()


async def test_a_call_in_another_language_of_a_tool_that_the_client_never_declared_is_not_shown_to_it(
    gateway: Served,
) -> None:
    calls(gateway, JAVASCRIPT)
    gateway.upstream.delta({"content": "In Python, then."})
    gateway.upstream.finish("stop")
    choice = await ask(gateway, tools=[INTERPRETER])
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == "In Python, then."
    assert not choice["message"].get("tool_calls")
    told = gateway.upstream.requests[1]["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "call_1")
    assert "only Python and bash run here" in told["content"]


async def test_options_that_are_null_are_none(gateway: Served) -> None:
    gateway.upstream.delta({"content": "Hi."})
    gateway.upstream.finish("stop")
    assert (await ask(gateway, tools=[INTERPRETER], eager=None))["message"]["content"] == "Hi."


@pytest.mark.parametrize("tools", [[function("python")], [function("python"), INTERPRETER]])
async def test_of_one_that_it_declared_it_is(gateway: Served, tools: list[dict[str, Any]]) -> None:
    calls(gateway, JAVASCRIPT)
    choice = await ask(gateway, tools=tools)
    assert choice["finish_reason"] == "tool_calls"
    assert [call["function"] for call in choice["message"]["tool_calls"]] == [JAVASCRIPT]


async def test_a_call_in_the_older_form_is_passed_on_as_one_of_todays(gateway: Served) -> None:
    for fields in ({"name": "get_weather", "arguments": '{"city":'}, {"arguments": ' "Paris"}'}):
        gateway.upstream.delta({"function_call": fields})
    gateway.upstream.finish("function_call")
    choice = await ask(gateway, tools=[INTERPRETER, function("get_weather")])
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}


async def test_only_allowed_tools_are_offered_in_every_turn(gateway: Served) -> None:
    gateway.upstream.code("print(1)\n")
    gateway.upstream.end_code()
    gateway.upstream.finish()
    gateway.upstream.delta({"content": "Done."})
    gateway.upstream.finish("stop")
    allowed = {"mode": "required", "tools": [INTERPRETER]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    await ask(gateway, tools=[function("get_weather"), INTERPRETER], tool_choice=choice)
    first, second = gateway.upstream.requests
    for request in (first, second):
        assert [tool["function"]["name"] for tool in request["tools"]] == ["python"]
    assert (first["tool_choice"], second.get("tool_choice")) == ("required", None)


class Sum(BaseModel):
    value: int


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_said_before_the_code_is_no_part_of_an_object(gateway: Served, stream: bool) -> None:
    gateway.upstream.delta({"content": "Let me compute."})
    gateway.upstream.code("42\n")
    gateway.upstream.end_code()
    gateway.upstream.finish()
    gateway.upstream.delta({"content": '{"value": 42}'})
    gateway.upstream.finish("stop")
    completions: Any = gateway.sdk().chat.completions
    asked = {"model": "m", "messages": [{"role": "user", "content": "Go."}], "response_format": Sum}
    tools = [{"type": "function", "function": {**function("python")["function"], "strict": True}}]
    if stream:
        async with completions.stream(**asked, tools=tools) as events:
            answer = await events.get_final_completion()
    else:
        answer = await completions.parse(**asked, tools=tools)
    assert answer.choices[0].message.parsed == Sum(value=42)


async def test_logprobs_of_a_refusal_are_told(gateway: Served) -> None:
    logprobs = {"content": None, "refusal": [{"token": "No.", "logprob": -1.0}]}
    refusal = {"index": 0, "delta": {"refusal": "No."}, "logprobs": logprobs}
    gateway.upstream.delta({}, choices=[refusal])
    gateway.upstream.finish("stop")
    choice = await ask(gateway, tools=[INTERPRETER], logprobs=True)
    assert (choice["message"]["refusal"], choice["logprobs"]) == ("No.", {"refusal": logprobs["refusal"]})
