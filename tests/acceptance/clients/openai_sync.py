"""openai-python, the blocking client."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI
from serve import INTERPRETER, OUTPUTS, PYTHON, URL, WEATHER, serve


def client(key: str) -> OpenAI:
    return OpenAI(base_url=URL, api_key=key, max_retries=0, timeout=60)


def complete(key: str, stream: bool, **request: Any) -> Any:
    api = client(key).chat.completions
    if not stream:
        return api.create(**request)
    with api.stream(**request, stream_options={"include_usage": True}) as events:
        return events.get_final_completion()


def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    answer = complete(key, stream, model=model, messages=messages, tools=[PYTHON])
    message = answer.choices[0].message
    calls = [{"name": c.function.name, "arguments": c.function.arguments} for c in message.tool_calls or ()]
    return {"text": message.content, "calls": calls, "tokens": answer.usage.total_tokens}


def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    cities = []
    while True:
        message = complete(key, stream, model=model, messages=messages, tools=[PYTHON, WEATHER]).choices[0].message
        if not message.tool_calls:
            return {"text": message.content, "cities": cities}
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            cities.append(json.loads(call.function.arguments)["city"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})


def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    with client(key).chat.completions.create(model=model, messages=messages, tools=[PYTHON], stream=True) as stream:
        text = next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
    return {"text": text}


def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    api = client(key)
    request: Any = {"model": model, "input": prompt, "tools": [INTERPRETER], "include": [OUTPUTS]}
    if stream:
        with api.responses.stream(**request) as events:
            events.until_done()
            response = events.get_final_response()
    else:
        response = api.responses.create(**request)
    calls = [item for item in response.output if item.type == "code_interpreter_call"]
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    cited = [citation for part in parts for citation in part.annotations]
    contents = api.containers.files.content
    return {
        "text": response.output_text,
        "code": [call.code for call in calls],
        "logs": [output.logs for call in calls for output in call.outputs],
        "files": {c.filename: contents.retrieve(c.file_id, container_id=c.container_id).text for c in cited},
    }


serve(chat, converse, leave, respond)
