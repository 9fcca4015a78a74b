"""The newest openai-python, unmodified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.acceptance.chat import PYTHON, WEATHER
from tests.acceptance.upstream import Upstream

TOLD = "The tool said: r= 42 é😀\n42"
MESSAGES: Any = [{"role": "user", "content": "Compute 6*7."}]
TOOLS: Any = [PYTHON]


@pytest.fixture
async def client(gateway_url: str, upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="client-key", max_retries=0) as client:
        yield client


async def test_create(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="up-openai", messages=MESSAGES, tools=TOOLS)
    (choice,) = answer.choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (TOLD, None, "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 36
    assert answer._request_id


async def test_create_with_a_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="up-openai", messages=MESSAGES, tools=TOOLS, stream=True, extra_body={"eager": {"events": True}}
    )
    text, seen = "", []
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        assert chunk.choices[0].delta.tool_calls is None
        seen += [event["type"] for event in (chunk.model_extra or {}).get("eager", [])]
    assert text == TOLD
    assert {"code.start", "exec.output", "exec.result", "code.end", "summary"} <= set(seen)


async def test_the_stream_helper(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="up-openai", messages=MESSAGES, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        events = [event async for event in stream]
        answer = await stream.get_final_completion()
    chunks = [event.chunk.model_extra or {} for event in events if event.type == "chunk"]
    assert [event["type"] for extra in chunks for event in extra.get("eager", [])] == ["summary"]
    assert "".join(event.delta for event in events if event.type == "content.delta") == TOLD
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TOLD, "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 36


async def test_its_own_tool_is_the_clients_to_run(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="up-unknown-tool",
        messages=MESSAGES,
        tools=[PYTHON, WEATHER],  # type: ignore[list-item]
    ) as stream:
        await stream.until_done()
        answer = await stream.get_final_completion()
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls or ()
    assert choice.finish_reason == "tool_calls"
    assert (call.id, call.function.name) == ("call_w", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("status-400", openai.BadRequestError),
        ("status-404", openai.NotFoundError),
        ("status-429", openai.RateLimitError),
        ("status-503", openai.InternalServerError),
    ],
)
async def test_errors_before_the_first_byte_have_their_class(
    client: openai.AsyncOpenAI, model: str, kind: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind) as raised:
        await client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS, stream=stream)
    assert raised.value.request_id
    assert raised.value.type


async def test_a_wrong_key_is_an_authentication_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        await client.with_options(api_key="wrong").models.list()
    assert raised.value.code == "invalid_api_key"


async def test_an_error_in_mid_stream_is_raised(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="l-mid-error", messages=MESSAGES, tools=TOOLS, stream=True)
    with pytest.raises(openai.APIError) as raised:
        async for _ in stream:
            pass
    assert raised.value.type == "upstream_error"
