"""Every shape in which upstreams send code and calls ends in the same answer, streamed and not."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.acceptance.chat import PYTHON, WEATHER, ask, body
from tests.acceptance.upstream import STREAMS, USAGE, Upstream

OUTPUT = "r= 42 é😀\n42"
TOLD = f"The tool said: {OUTPUT}"
CODE_CALLS = [
    *sorted(path.stem for path in STREAMS.glob("up-openai*.sse")),
    *("up-vllm", "up-ollama", "up-noindex", "up-null-fields", "up-finish-stop"),
    *("up-bare-code", "up-json-string", "up-other-keys"),
]


@pytest.mark.parametrize("model", [*CODE_CALLS, "up-openai/1", "up-openai+crlf/3", "up-openai-escaped/7"])
async def test_code_in_a_call_is_run_and_answered(gateway: httpx.AsyncClient, upstream: Upstream, model: str) -> None:
    request = body(model, eager={"events": True}, stream_options={"include_usage": True})
    answer = await ask(gateway, request)
    assert (answer.text, answer.finish_reason) == (TOLD, "stop")
    assert answer.stdout == "r= 42 é😀\n"
    assert answer.events("exec.result")[0]["repr"] == "42"
    first, second = upstream.bodies()
    assert "eager" not in first
    (call,) = second["messages"][1]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert second["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "content": f"{OUTPUT}\n"}


@pytest.mark.parametrize("model", ["up-openai", "up-anthropic-layer"])
async def test_the_same_without_a_stream(gateway: httpx.AsyncClient, model: str) -> None:
    response = await gateway.post("/v1/chat/completions", json=body(model))
    answer = response.json()
    (choice,) = answer["choices"]
    assert choice["message"]["content"].endswith(TOLD)
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["total_tokens"] >= USAGE["total_tokens"]
    assert [event["type"] for event in answer["eager"]] == ["summary"]


async def test_text_before_a_call_stays_and_is_a_paragraph_of_its_own(gateway: httpx.AsyncClient) -> None:
    assert (await ask(gateway, body("up-anthropic-layer"))).text == f"Let me compute.\n\n{TOLD}"


@pytest.mark.parametrize(("model", "told"), [("up-parallel", "call 0 | call 1"), ("up-ollama-index0", "1 | 2")])
async def test_parallel_calls_run_in_order(gateway: httpx.AsyncClient, model: str, told: str) -> None:
    assert (await ask(gateway, body(model))).text == f"The tool said: {told}"


async def test_usage_is_the_sum_of_all_turns(gateway: httpx.AsyncClient) -> None:
    answer = await ask(gateway, body("up-openai", stream_options={"include_usage": True}))
    assert answer.usage is not None
    assert answer.usage["total_tokens"] == 2 * USAGE["total_tokens"]
    assert answer.eager[-1]["usage"] == answer.usage


@pytest.mark.parametrize("switch", [{"eager": {"events": True}}, {}])
async def test_events_come_only_when_asked_for(gateway: httpx.AsyncClient, switch: dict[str, object]) -> None:
    answer = await ask(gateway, body("up-openai", **switch))
    assert bool(answer.events("exec.output")) == bool(switch)


async def test_options_may_come_as_headers(gateway: httpx.AsyncClient) -> None:
    gateway.headers["x-eager-events"] = "true"
    assert (await ask(gateway, body("up-openai"))).stdout == "r= 42 é😀\n"


@pytest.mark.parametrize("model", ["up-fenced", "up-fenced+ascii+crlf", "up-smolagents", "up-execute-tag"])
async def test_code_in_the_content_runs_where_that_was_asked_for(
    gateway: httpx.AsyncClient, upstream: Upstream, model: str
) -> None:
    request = body(model, tools=None, eager={"events": True, "sources": ["tool", "fence", "tag"]})
    answer = await ask(gateway, request)
    assert answer.stdout == "r= 42 é😀\n"
    assert "x*y" in answer.text
    assert answer.text.endswith(f"The tool said: Output of your code:\n{OUTPUT}\n")


async def test_a_model_that_calls_an_undeclared_code_tool_is_answered_where_code_was_asked_for(
    gateway: httpx.AsyncClient,
) -> None:
    answer = await ask(gateway, body("up-openai", tools=None, eager={"sources": ["tool", "fence"]}))
    assert answer.text == TOLD


async def test_a_fence_is_text_where_it_was_not(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = await ask(gateway, body("up-fenced"))
    assert len(upstream.asked) == 1
    assert "x*y" in answer.text


async def test_reasoning_is_not_executed(gateway: httpx.AsyncClient) -> None:
    answer = await ask(gateway, body("up-reasoning", eager={"events": True, "sources": ["tool", "fence", "tag"]}))
    assert answer.text == "Answer."
    assert answer.events("exec.start") == []


async def test_half_characters_are_put_together(gateway: httpx.AsyncClient) -> None:
    assert "😀" in (await ask(gateway, body("s-lone-surrogate"))).text


async def test_code_cut_off_by_a_limit_ends_the_request(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = await ask(gateway, body("up-truncated", eager={"events": True}))
    assert answer.finish_reason == "length"
    assert answer.events("code.end")[0]["status"] == "incomplete"
    assert len(upstream.asked) == 1


async def test_a_forced_tool_choice_is_not_repeated(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    choice = {"type": "function", "function": {"name": "python"}}
    await ask(gateway, body("up-openai", tool_choice=choice))
    assert [sent.get("tool_choice") for sent in upstream.bodies()] == [choice, None]


async def test_the_code_interpreter_is_a_tool_here_too(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = await ask(gateway, body("up-openai", tools=[{"type": "code_interpreter"}]))
    assert answer.text == TOLD
    assert upstream.bodies()[0]["tools"][0]["function"]["name"] == "python"


async def test_tools_may_be_left_to_the_client(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await gateway.post(
        "/v1/chat/completions", json=body("up-openai", stream=True, eager={"tools": "off"}, tools=[PYTHON, WEATHER])
    )
    assert '"name":"python"' in response.text
    assert len(upstream.asked) == 1
