"""``functions`` and ``function_call``: requests from before there were tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import Served, served

PYTHON = {"name": "python", "parameters": {"type": "object", "properties": {"code": {"type": "string"}}}}
WEATHER = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
GO = {"role": "user", "content": "Go."}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


async def ask(gateway: Served, **fields: Any) -> dict[str, Any]:
    async with gateway.http() as http:
        answer = await http.post(
            "/v1/chat/completions", json={"model": "m", "messages": [GO], "functions": [PYTHON, WEATHER], **fields}
        )
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def codes(gateway: Served) -> None:
    gateway.upstream.code("print(1)\n")
    gateway.upstream.end_code()
    gateway.upstream.finish()


def calls_weather(gateway: Served, *ids: str) -> None:
    for index, id in enumerate(ids):
        function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
        gateway.upstream.delta({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
    gateway.upstream.finish()


async def test_code_of_a_function_runs_here_and_the_upstream_is_told_of_tools(gateway: Served) -> None:
    codes(gateway)
    gateway.upstream.delta({"content": "Done."})
    gateway.upstream.finish("stop")
    choice = await ask(gateway, function_call={"name": "python"})
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Done.", "stop")
    first = gateway.upstream.requests[0]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["python", "get_weather"]
    assert first["tool_choice"] == {"type": "function", "function": {"name": "python"}}
    assert not first.keys() & {"functions", "function_call"}


async def test_another_call_is_the_clients_in_its_own_words_and_it_may_come_back(gateway: Served) -> None:
    codes(gateway)
    calls_weather(gateway, "w1", "w2")
    choice = await ask(gateway)
    call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == call
    assert "tool_calls" not in choice["message"]
    gateway.upstream.delta({"content": "Sunny."})
    gateway.upstream.finish("stop")
    back = [GO, choice["message"], {"role": "function", "name": "get_weather", "content": "21 degrees"}]
    assert (await ask(gateway, messages=back))["message"]["content"] == "Sunny."
    _, coded, ran, asked, answered = gateway.upstream.requests[-1]["messages"]
    assert json.loads(coded["tool_calls"][0]["function"]["arguments"]) == {"code": "print(1)\n"}
    assert ran["role"] == "tool"
    [told] = asked["tool_calls"]
    assert told["function"] == call
    assert answered == {"role": "tool", "tool_call_id": told["id"], "content": "21 degrees"}


async def test_a_call_is_streamed_in_those_words(gateway: Served) -> None:
    calls_weather(gateway, "w1", "w2")
    async with gateway.http() as http:
        answer = await http.post(
            "/v1/chat/completions",
            json={"model": "m", "messages": [GO], "functions": [PYTHON, WEATHER], "stream": True},
        )
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"].get("function_call", {}) for chunk in chunks]
    assert [delta["name"] for delta in deltas if "name" in delta] == ["get_weather"]
    assert "".join(delta.get("arguments", "") for delta in deltas) == '{"city": "Paris"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"
    assert not any("tool_calls" in chunk["choices"][0]["delta"] for chunk in chunks)


async def test_functions_without_code_are_passed_on(gateway: Served) -> None:
    message = {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}}
    gateway.upstream.document = {"choices": [{"index": 0, "message": message, "finish_reason": "function_call"}]}
    choice = await ask(gateway, functions=[WEATHER])
    assert choice["message"] == message
