"""Calls that are for the client, alone and beside code (R9, R10)."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.acceptance.chat import PYTHON, WEATHER, Answer, Json, ask, body
from tests.acceptance.upstream import Upstream

BOTH = [PYTHON, WEATHER]


async def test_an_unknown_call_reaches_the_client_as_it_came(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = await ask(gateway, body("up-unknown-tool", tools=BOTH))
    (call,) = answer.calls
    assert (call["id"], call["name"], json.loads(call["arguments"])) == ("call_w", "get_weather", {"city": "Paris"})
    assert len(upstream.asked) == 1


def coming_back(answer: Answer) -> list[Json]:
    """The conversation as the client knows it, with the result of its call."""
    (call,) = answer.calls
    function = {"name": call["name"], "arguments": call["arguments"]}
    shown = {"role": "assistant", "content": answer.text, "tool_calls": [{"id": call["id"], "type": "function"}]}
    shown["tool_calls"][0]["function"] = function  # type: ignore[index]
    return [
        {"role": "user", "content": "Compute 6*7."},
        shown,
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]


async def test_of_a_mixed_turn_the_client_sees_its_own_call_and_the_model_sees_both(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = await ask(gateway, body("up-parallel-interleaved", tools=BOTH, eager={"events": True}))
    assert [call["name"] for call in answer.calls] == ["get_weather"]
    (end,) = answer.events("code.end")
    assert end["status"] == "ok"

    request = body("up-parallel-interleaved", tools=BOTH)
    told = await ask(gateway, {**request, "messages": coming_back(answer)})
    messages = upstream.bodies()[-1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    code, weather = messages[1]["tool_calls"]
    assert (code["function"]["name"], weather["function"]["name"]) == ("python", "get_weather")
    assert json.loads(code["function"]["arguments"])["code"] == end["code"]
    assert [message["tool_call_id"] for message in messages[2:]] == [code["id"], weather["id"]]
    assert messages[3]["content"] == "sunny"
    assert told.text == f"The tool said: {messages[2]['content'].strip()} | sunny"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_model_sees_both_also_where_the_client_comes_back_without_tools(
    gateway: httpx.AsyncClient, upstream: Upstream, stream: bool
) -> None:
    answer = await ask(gateway, body("up-parallel-interleaved", tools=BOTH))
    request = {"model": "up-parallel-interleaved", "messages": coming_back(answer), "stream": stream}
    assert (await gateway.post("/v1/chat/completions", json=request)).status_code == 200
    sent = upstream.bodies()[-1]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool", "tool"]
    assert "tools" not in sent


async def test_without_the_memory_the_conversation_goes_on_without_the_hidden_pair(
    gateway: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = await ask(gateway, body("up-parallel-interleaved", tools=BOTH))
    messages = coming_back(answer)
    messages[0] = {"role": "user", "content": "Another conversation."}
    told = await ask(gateway, {**body("up-parallel-interleaved", tools=BOTH), "messages": messages})
    assert upstream.bodies()[-1]["messages"] == messages
    assert told.text == "The tool said: sunny"
