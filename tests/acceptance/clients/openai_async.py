"""openai-python, the asyncio client, without the stream helpers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from openai import AsyncOpenAI
from serve import INTERPRETER, OUTPUTS, PYTHON, URL, WEATHER, serve


def client(key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=URL, api_key=key, max_retries=0, timeout=60)


async def complete(key: str, stream: bool, **request: Any) -> tuple[str, list[dict[str, str]], int | None]:
    """Text, calls and tokens, put together by hand as many an app does."""
    async with client(key) as api:
        if not stream:
            answer = await api.chat.completions.create(**request)
            message = answer.choices[0].message
            calls = [_call(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
            return message.content or "", calls, answer.usage.total_tokens
        text, tokens = "", None
        pieces: dict[int, dict[str, str]] = defaultdict(lambda: _call("", "", ""))
        options = {"include_usage": True}
        async for chunk in await api.chat.completions.create(**request, stream=True, stream_options=options):
            tokens = chunk.usage.total_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    piece = pieces[call.index]
                    piece["id"] += call.id or ""
                    piece["name"] += call.function.name or ""
                    piece["arguments"] += call.function.arguments or ""
        return text, list(pieces.values()), tokens


def _call(id: str, name: str, arguments: str) -> dict[str, str]:
    return {"id": id, "name": name, "arguments": arguments}


async def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    text, calls, tokens = await complete(key, stream, model=model, messages=messages, tools=[PYTHON])
    return {"text": text, "calls": calls, "tokens": tokens}


async def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    cities = []
    while True:
        text, calls, _ = await complete(key, stream, model=model, messages=messages, tools=[PYTHON, WEATHER])
        if not calls:
            return {"text": text, "cities": cities}
        told = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls
        ]
        messages.append({"role": "assistant", "content": text, "tool_calls": told})
        for call in calls:
            cities.append(json.loads(call["arguments"])["city"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})


async def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    messages: Any = [{"role": "user", "content": prompt}]
    async with client(key) as api:
        stream = await api.chat.completions.create(model=model, messages=messages, tools=[PYTHON], stream=True)
        async with stream:
            async for chunk in stream:
                if text := chunk.choices[0].delta.content:
                    return {"text": text}
    return {"text": ""}


async def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    request: Any = {"model": model, "input": prompt, "tools": [INTERPRETER], "include": [OUTPUTS]}
    async with client(key) as api:
        if stream:
            async for event in await api.responses.create(**request, stream=True):
                if event.type == "response.completed":
                    response = event.response
        else:
            response = await api.responses.create(**request)
        calls = [item for item in response.output if item.type == "code_interpreter_call"]
        parts = [part for item in response.output if item.type == "message" for part in item.content]
        files = {}
        for cited in (citation for part in parts for citation in part.annotations):
            content = await api.containers.files.content.retrieve(cited.file_id, container_id=cited.container_id)
            files[cited.filename] = content.text
    return {
        "text": response.output_text,
        "code": [call.code for call in calls],
        "logs": [output.logs for call in calls for output in call.outputs],
        "files": files,
    }


serve(chat, converse, leave, respond)
