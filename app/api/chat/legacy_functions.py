"""``functions`` and ``function_call``, which chat completions had before tools: requests that use them for code are
translated, and answered in their words. Others are passed on as they are.

A call had no id, and there was one at most in an answer: ids are made by counting, for this gateway and its upstream
alone, and what is left out of an answer for want of a place is left out of the conversation too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.api.schemas import CompletionRequest
from app.api.tools import has_code_tool
from app.events import ChatMessage
from app.pipeline.run import KeepHidden


def uses_functions(body: CompletionRequest, names: Collection[str]) -> bool:
    """Whether the request has functions, and code may run for it: one of them does that, or one of its tools."""
    tools = _tools(body)
    return bool(tools) and has_code_tool({"tools": [*(body.tools or ()), *tools]}, names)


def with_tools(body: CompletionRequest) -> CompletionRequest:
    """The request in the words of today."""
    given = body.upstream_body()
    choice = given.pop("function_call", None)
    del given["functions"]
    if isinstance(choice, dict):
        given["tool_choice"] = {"type": "function", "function": choice}
    elif choice in ("auto", "none"):
        given["tool_choice"] = choice
    translated = {"tools": [*(body.tools or ()), *_tools(body)], "messages": _messages(body.messages)}
    return CompletionRequest.model_validate({**given, **translated, "eager": body.eager})


def keeping_one(keep: KeepHidden, messages: Sequence[ChatMessage]) -> KeepHidden:
    """Keeps what is hidden of an answer to ``messages`` under the id that its one call will be said to have."""
    id = _id(sum(_is_call(message) for message in messages))

    async def keep_one(call_ids: Sequence[str], hidden: Sequence[ChatMessage]) -> None:
        shown, *left_out = call_ids
        await keep([id], [_renamed(message, shown, id, left_out) for message in hidden])

    return keep_one


def _tools(body: CompletionRequest) -> list[dict[str, Any]]:
    functions = (body.model_extra or {}).get("functions")
    declared = functions if isinstance(functions, list) else []
    return [{"type": "function", "function": function} for function in declared if isinstance(function, dict)]


def _messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    translated: list[ChatMessage] = []
    calls = 0
    for message in messages:
        told = dict(message)
        if _is_call(message):
            function = told.pop("function_call")
            told["tool_calls"] = [{"id": _id(calls), "type": "function", "function": function}]
            calls += 1
        elif message.get("role") == "function":
            told = {"role": "tool", "tool_call_id": _id(calls - 1), "content": message.get("content")}
        translated.append(told)
    return translated


def _is_call(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and isinstance(message.get("function_call"), dict)


def _id(number: int) -> str:
    return f"function_call_{number}"


def _renamed(message: ChatMessage, shown: str, id: str, left_out: Collection[str]) -> ChatMessage:
    if "tool_calls" not in message:
        return message
    kept = [call for call in message["tool_calls"] if call["id"] not in left_out]
    return {**message, "tool_calls": [{**call, "id": id} if call["id"] == shown else call for call in kept]}
