"""A client of ``/v1/chat/completions`` that trusts nothing: it checks every rule of PROTOCOL.md 2.2 while it reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

PYTHON = {
    "type": "function",
    "function": {
        "name": "python",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}
DELTA_KEYS = {"role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content"}

Json = dict[str, Any]


@dataclass
class Answer:
    """What a stream said."""

    text: str = ""
    calls: list[Json] = field(default_factory=list)
    eager: list[Json] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Json | None = None
    error: Json | None = None

    def events(self, type: str) -> list[Json]:
        return [event for event in self.eager if event["type"] == type]

    @property
    def stdout(self) -> str:
        return "".join(event["text"] for event in self.events("exec.output"))


def body(model: str, prompt: str = "Compute 6*7.", **fields: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "tools": [PYTHON], **fields}


async def ask(gateway: httpx.AsyncClient, request: Json) -> Answer:
    """A streamed answer, linted."""
    usage = bool(request.get("stream_options", {}).get("include_usage"))
    response = await gateway.post("/v1/chat/completions", json={**request, "stream": True})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"]
    return read(response.content, usage=usage)


def read(data: bytes, *, usage: bool) -> Answer:
    *events, last = _data_of(data)
    assert last == "[DONE]"
    chunks = [json.loads(event) for event in events]
    answer = Answer()
    heads = set()
    for position, chunk in enumerate(chunks):
        if "error" in chunk:  # R11
            assert set(chunk) == {"error"}
            assert set(chunk["error"]) == {"message", "type", "param", "code"}
            assert position == len(chunks) - 1
            answer.error = chunk["error"]
            return answer
        assert chunk["object"] == "chat.completion.chunk"
        heads.add((chunk["id"], chunk["created"], chunk["model"]))
        assert position or "eager" not in chunk  # R7
        assert answer.usage is None, "a chunk behind the usage"  # R7
        if not chunk["choices"]:  # R5
            assert usage
            assert set(chunk["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}
            answer.usage = chunk["usage"]
            continue
        assert ("usage" in chunk) == usage
        assert chunk.get("usage") is None
        _read_choice(chunk, answer, first=position == 0)
    assert len(heads) == 1  # R2
    assert answer.finish_reason is not None
    assert answer.eager[-1]["type"] == "summary"
    assert (answer.usage is not None) == usage
    assert bool(answer.calls) == (answer.finish_reason == "tool_calls")
    return answer


def _data_of(data: bytes) -> list[str]:
    """R1: nothing but data lines and comments, each event on one line."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all("\n" not in block for block in blocks)
    assert all(block.startswith((": ", "data: ")) for block in blocks)
    return [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]


def _read_choice(chunk: Json, answer: Answer, *, first: bool) -> None:
    (choice,) = chunk["choices"]
    delta = choice["delta"]
    assert choice["index"] == 0
    assert set(delta) <= DELTA_KEYS
    assert answer.finish_reason is None, "a chunk behind the finish reason"  # R8
    if first:  # R3
        assert delta == {"role": "assistant", "content": None}
        return
    assert "role" not in delta
    if chunk.get("eager"):  # R6
        assert delta == ({"content": ""} if answer.text else {}) or choice["finish_reason"]
        answer.eager += chunk["eager"]
    text = delta.get("content") or ""
    assert not any("\ud800" <= character <= "\udfff" for character in text)  # R12
    answer.text += text
    for call in delta.get("tool_calls", ()):
        _read_call(call, answer)
    if choice["finish_reason"] is not None:
        assert choice["finish_reason"] in FINISH_REASONS
        answer.finish_reason = choice["finish_reason"]


def _read_call(call: Json, answer: Answer) -> None:
    """R9; and R4: no call of ours."""
    if call["index"] == len(answer.calls):
        assert call["type"] == "function"
        assert call["function"]["name"] != "python"
        answer.calls.append({"id": call["id"], **call["function"]})
        return
    assert set(call) == {"index", "function"}
    assert set(call["function"]) == {"arguments"}
    answer.calls[call["index"]]["arguments"] += call["function"]["arguments"]
