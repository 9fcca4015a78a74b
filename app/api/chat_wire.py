"""Our events as a ``/v1/chat/completions`` answer (PROTOCOL.md, section 2; the rules R1 to R15 are named where kept).

Execution events ride in a top-level array ``eager`` of otherwise valid chunks: the only carrier that every SDK
survives and that they can still read (R4, section 2.1). They are sent when asked for; the summary always is.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.events import Done, Error, Event, Start, Token, ToolCall, TurnEnd

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


def summary(done: Done) -> dict[str, Any]:
    """What always rides on the last chunk."""
    return {"type": "summary", "seq": done.seq, "t_ms": done.t_ms, "timing": done.timing, "usage": done.usage}


def finish_reason(done: Done) -> str:
    """Ours, within OpenAI's enum."""
    return done.finish_reason if done.finish_reason in ("length", "tool_calls", "content_filter") else "stop"


def public_usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    """Usage as the client is owed it: zeros where the upstream never told."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, **(usage or {})}


def tool_call(call: ToolCall, index: int) -> dict[str, Any]:
    """R9: a fresh contiguous index, the original id, the arguments byte for byte."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


class ChatWire:
    """One streamed answer. Id, ``created`` and model are the gateway's own over all upstream turns (R2)."""

    def __init__(self, *, id: str, created: int, model: str, include_usage: bool, events: bool) -> None:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = _encode(head)[:-1]
        self._usage = b',"usage":null' if include_usage else b""  # R5
        self._include_usage = include_usage
        self._events = events
        self._calls = 0
        self._has_text = False

    def encode(self, event: Event) -> bytes:
        match event:
            case Token(channel="content", text=text):
                if not text:
                    return b""
                self._has_text = True
                return self._chunk({"content": text})
            case Token(channel="reasoning", text=text):
                return self._chunk({event.key or "reasoning_content": text})
            case Start():
                return self._chunk({"role": "assistant", "content": None})  # R3, R7
            case ToolCall():
                self._calls += 1
                return self._chunk({"tool_calls": [tool_call(event, self._calls - 1)]})
            case Done():
                return self._finish(event)
            case Error(error=error):
                return b"data: %b\n\n" % _encode({"error": error})  # R11
            case _:
                return self._carry(event) if self._events else b""

    def close(self) -> bytes:
        return DONE

    def _carry(self, event: Event) -> bytes:
        """R6: an empty delta that is no text before the first text, and empty text after it."""
        return self._chunk({"content": ""} if self._has_text else {}, eager=event)

    def _finish(self, done: Done) -> bytes:
        if done.finish_reason == "error":
            return b""
        last = self._chunk({}, finish=finish_reason(done), eager=summary(done))  # R8
        if not self._include_usage:
            return last
        usage = {"choices": [], "usage": public_usage(done.usage)}
        return last + b"data: %b,%b\n\n" % (self._head, _encode(usage)[1:])

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None, eager: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        carried = b',"eager":[%b]' % _encode(eager) if eager is not None else b""
        return b'data: %b,"choices":[%b]%b%b}\n\n' % (self._head, _encode(choice), self._usage, carried)


def chat_document(events: list[Event], *, id: str, created: int, model: str, carry: bool) -> bytes:
    """The answer without a stream. ``content`` is the text of all turns exactly as it would have streamed."""
    done = next(event for event in reversed(events) if isinstance(event, Done))
    tokens = [event for event in events if isinstance(event, Token)]
    content = "".join(token.text for token in tokens if token.channel == "content")
    reasoning = [token for token in tokens if token.channel == "reasoning"]
    calls = [event for event in events if isinstance(event, ToolCall)]
    message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
    if reasoning:
        message[reasoning[0].key or "reasoning_content"] = "".join(token.text for token in reasoning)
    if calls:
        listed = [tool_call(call, index) for index, call in enumerate(calls)]
        message["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in listed]
    carried: list[Any] = [event for event in events if _is_carried(event)] if carry else []
    return _encode(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(done)}],
            "usage": public_usage(done.usage),
            "eager": [*carried, summary(done)],
        }
    )


def _is_carried(event: Event) -> bool:
    return not isinstance(event, Token | Start | ToolCall | Done | Error | TurnEnd)
