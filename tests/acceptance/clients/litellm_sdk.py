"""LiteLLM as a client of an OpenAI-compatible server."""

from __future__ import annotations

import json
from typing import Any

import litellm
from serve import INTERPRETER, OUTPUTS, PYTHON, URL, WEATHER, serve

litellm.suppress_debug_info = True


def connection(model: str, key: str) -> dict[str, Any]:
    return {"model": f"openai/{model}", "api_base": URL, "api_key": key, "num_retries": 0, "max_retries": 0}


def complete(messages: list[Any], tools: list[Any], stream: bool, **options: Any) -> Any:
    if not stream:
        return litellm.completion(messages=messages, tools=tools, **options)
    usage = {"include_usage": True}
    chunks = list(litellm.completion(messages=messages, tools=tools, stream=True, stream_options=usage, **options))
    return litellm.stream_chunk_builder(chunks)


def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    answer = complete(messages, [PYTHON], stream, **connection(model, key))
    message = answer.choices[0].message
    calls = [{"name": c.function.name, "arguments": c.function.arguments} for c in message.tool_calls or ()]
    return {"text": message.content, "calls": calls, "tokens": answer.usage.total_tokens}


def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    cities = []
    while True:
        message = complete(messages, [PYTHON, WEATHER], stream, **connection(model, key)).choices[0].message
        if not message.tool_calls:
            return {"text": message.content, "cities": cities}
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            cities.append(json.loads(call.function.arguments)["city"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})


async def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    stream = await litellm.acompletion(messages=messages, tools=[PYTHON], stream=True, **connection(model, key))
    text = ""
    async for chunk in stream:
        text = chunk.choices[0].delta.content
        if text:
            break
    await stream.aclose()
    return {"text": text}


def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    request: Any = {"input": prompt, "tools": [INTERPRETER], "include": [OUTPUTS], **connection(model, key)}
    if stream:
        *_, last = litellm.responses(stream=True, **request)
        response = last.response
    else:
        response = litellm.responses(**request)
    items = [item if isinstance(item, dict) else item.model_dump() for item in response.output]
    calls = [item for item in items if item["type"] == "code_interpreter_call"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    return {
        "text": "".join(part["text"] for part in parts),
        "code": [call["code"] for call in calls],
        "logs": [output["logs"] for call in calls for output in call["outputs"]],
        "files": {annotation["filename"]: None for part in parts for annotation in part["annotations"]},
    }


serve(chat, converse, leave, respond)
