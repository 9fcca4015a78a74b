"""An answer to a stream request that is no stream."""

from __future__ import annotations

import json
from typing import Any


def as_delta(body: bytes) -> bytes:
    """The data of one event: a ``chat.completion`` becomes a chunk of a stream, anything else is left as it is."""
    try:
        answer = json.loads(body)
        choices = answer["choices"]
        deltas = [{**choice, "delta": _delta(choice["message"])} for choice in choices]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return body.replace(b"\r", b" ").replace(b"\n", b" ")
    for delta in deltas:
        del delta["message"]
    return json.dumps({**answer, "object": "chat.completion.chunk", "choices": deltas}).encode()


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
