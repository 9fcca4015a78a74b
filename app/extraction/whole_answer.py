"""Answers in the other form than was asked for: whole where a stream was expected, and the other way round."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from app.extraction.assistant_message import merge_fields
from app.extraction.deltas import CallDelta, CustomDelta, FunctionDelta
from app.extraction.half_characters import joined
from app.extraction.tool_calls import ToolCallAssembler


def as_delta(data: str, *, is_document: bool = False) -> str:
    """The data of one event: messages in the place of deltas become deltas, anything else is left as it is, on one
    line. A document is whole by being one: it ends with ``stop`` where it names no reason."""
    try:
        answer = json.loads(data, strict=False)
        choices = [_with_delta(choice, is_document) for choice in answer["choices"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return data.replace("\r", " ").replace("\n", " ")
    return json.dumps({**answer, "object": "chat.completion.chunk", "choices": choices})


def _with_delta(choice: dict[str, Any], is_document: bool) -> dict[str, Any]:
    if choice.get("delta"):
        return choice
    message = choice["message"]
    if calls := message.get("tool_calls"):
        message = {**message, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
    told = {name: value for name, value in choice.items() if name != "message"}
    if is_document and not told.get("finish_reason"):
        told["finish_reason"] = "tool_calls" if calls else "stop"
    return {**told, "delta": message}


def as_document(events: Iterable[str]) -> dict[str, Any]:
    """The ``chat.completion`` that a stream's events are, put together. Unknown fields are kept.

    Raises:
        ValueError: an event is no JSON object.
        UpstreamBroken: its calls cannot be told apart.
    """
    document: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[Any, _ChoiceParts] = {}
    for data in events:
        chunk = json.loads(as_delta(data), strict=False)
        if not isinstance(chunk, dict):
            raise ValueError("an event is no object")
        for choice in chunk.pop("choices", None) or ():
            if isinstance(choice, dict):
                index = choice.get("index") or 0
                choices.setdefault(index, _ChoiceParts(index)).add(choice)
        document |= {name: value for name, value in chunk.items() if value is not None and name != "object"}
    return {
        **document,
        "choices": [choice.whole() for _, choice in sorted(choices.items(), key=lambda found: str(found[0]))],
    }


class _ChoiceParts:
    """One choice of a stream, as it comes."""

    def __init__(self, index: Any) -> None:
        numbers = itertools.count()
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._fields: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": None}
        self._calls = ToolCallAssembler(lambda: f"call_{index}_{next(numbers)}")

    def add(self, choice: dict[str, Any]) -> None:
        delta = dict(choice.get("delta") or {})
        calls = delta.pop("tool_calls", None)
        self._calls.feed([_call_delta(call) for call in calls or () if isinstance(call, dict)])
        delta.pop("role", None)
        merge_fields(self._message, delta)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            merge_fields(self._fields, {"logprobs": logprobs})
        others = {name: value for name, value in choice.items() if name not in ("delta", "index", "logprobs")}
        self._fields |= {name: value for name, value in others.items() if value is not None}

    def whole(self) -> dict[str, Any]:
        self._calls.flush()
        message = joined(self._message)
        if calls := [call.message for call in self._calls.calls if call.started]:
            message["tool_calls"] = calls
        return {**self._fields, "message": message}


def _call_delta(call: dict[str, Any]) -> CallDelta:
    function, custom = call.get("function"), call.get("custom")
    return CallDelta(
        index=call.get("index"),
        id=call.get("id"),
        function=FunctionDelta(function.get("name"), function.get("arguments")) if isinstance(function, dict) else None,
        custom=CustomDelta(custom.get("name"), custom.get("input")) if isinstance(custom, dict) else None,
        extra_content=call.get("extra_content"),
        provider_specific_fields=call.get("provider_specific_fields"),
    )
