"""Our events as a ``/v1/chat/completions`` answer (PROTOCOL.md, section 2; the rules R1 to R15 are named where kept).

Execution events ride in a top-level array ``eager`` of otherwise valid chunks: the only carrier that every SDK
survives and that they can still read (R4, section 2.1). They are sent when asked for; the summary always is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from app.api.edge.errors import to_exception
from app.events import DeltaExtra, Done, Error, Event, Start, Token, ToolCall, ToolCallDelta
from app.extraction.assistant_message import THINKING, join_details, merge_fields
from app.pipeline.usage import ESTIMATED, totals

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


def summary(start: Start, done: Done) -> dict[str, Any]:
    """What always rides on the last chunk."""
    return {
        "type": "summary",
        "seq": done.seq,
        "t_ms": done.t_ms,
        "session": start.session,
        "finish_reason": done.finish_reason,
        "timing": done.timing,
        "usage": done.usage,
    }


def finish_reason(done: Done, *, legacy: bool = False) -> str:
    """Ours, within OpenAI's enum."""
    if legacy and done.finish_reason == "tool_calls":
        return "function_call"
    return done.finish_reason if done.finish_reason in ("length", "tool_calls", "content_filter") else "stop"


def public_usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    """Usage as the client is owed it: zeros where the upstream never told, estimates like any other (the summary
    tells)."""
    told = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), totals(usage), strict=True))
    return {name: value for name, value in {**(usage or {}), **told}.items() if name != ESTIMATED}


class ChatWire:
    """One streamed answer. Id, ``created`` and model are the gateway's own over all upstream turns (R2)."""

    def __init__(
        self, *, id: str, created: int, model: str, include_usage: bool, events: bool, legacy: bool = False
    ) -> None:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = _encode(head)[:-1]
        self._usage = b',"usage":null' if include_usage else b""  # R5
        self._include_usage = include_usage
        self._legacy = legacy
        self._events = events
        self._start: Start | None = None
        #: Indices of the calls that were begun, fresh and contiguous (R9).
        self._calls: dict[str, int] = {}
        self._has_text = False
        self._choice_fields: dict[str, Any] = {}
        self._answer_fields: dict[str, Any] = {}

    def encode(self, event: Event) -> bytes:
        match event:
            case Token(channel="content" | "refusal" | "reasoning"):
                return self._token(event)
            case Start():
                self._start = event
                return self._chunk({"role": "assistant", "content": None})  # R3, R7
            case DeltaExtra(fields=fields):
                _keep_beside(event, self._choice_fields, self._answer_fields)
                return self._chunk(fields) if fields else b""
            case ToolCallDelta():
                return self._call_delta(event)
            case ToolCall():
                return self._call(event)
            case Done():
                return self._finish(event)
            case Error(error=error):
                return b"data: %b\n\n" % _encode({"error": error})  # R11
            case _:
                return self._carry(event) if self._events else b""

    def close(self) -> bytes:
        return DONE

    def _token(self, token: Token) -> bytes:
        match token.channel:
            case "content":
                self._has_text = True
                return self._chunk({"content": token.text}, logprobs=_known(token.logprobs))
            case "refusal":
                return self._chunk({"refusal": token.text}, logprobs=_known(token.logprobs))
            case _:
                return self._chunk({_reasoning_key(token): token.text})

    def _call_delta(self, call: ToolCallDelta) -> bytes:
        """R9: id and name once, the arguments byte for byte."""
        if (index := self._calls.get(call.id)) is not None:
            if self._legacy:
                return self._chunk({"function_call": {"arguments": call.arguments}}) if index == 0 else b""
            text = {"input": call.arguments} if call.kind == "custom" else {"arguments": call.arguments}
            return self._chunk({"tool_calls": [{"index": index, _kind(call): text}]})
        return self._begin_call(call)

    def _call(self, call: ToolCall) -> bytes:
        """The end of a call, all of which was shown or nothing."""
        if (index := self._calls.get(call.id)) is None:
            return self._begin_call(call)
        extras = None if self._legacy else _known(call.extras)
        nothing = {"input": ""} if call.kind == "custom" else {"arguments": ""}
        return self._chunk({"tool_calls": [{"index": index, _kind(call): nothing, **extras}]}) if extras else b""

    def _begin_call(self, call: ToolCall | ToolCallDelta) -> bytes:
        index = self._calls[call.id] = len(self._calls)
        if self._legacy:
            return self._chunk(_function_call(call)) if index == 0 else b""
        return self._chunk({"tool_calls": [{"index": index, **_call(call)}]})

    def _carry(self, event: Event) -> bytes:
        """R6: an empty delta that is no text before the first text, and empty text after it."""
        return self._chunk({"content": ""} if self._has_text else {}, eager=event)

    def _finish(self, done: Done) -> bytes:
        if done.finish_reason == "error":
            return b""
        assert self._start is not None
        reason = finish_reason(done, legacy=self._legacy)
        last = self._chunk({}, finish=reason, eager=summary(self._start, done), beside=True)  # R8
        if not self._include_usage:
            return last
        usage = {"choices": [], "usage": public_usage(done.usage)}
        return last + b"data: %b,%b\n\n" % (self._head, _encode(usage)[1:])

    def _chunk(
        self,
        delta: dict[str, Any],
        *,
        finish: str | None = None,
        logprobs: Any = None,
        eager: Any = None,
        beside: bool = False,
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        carried = b',"eager":[%b]' % _encode(eager) if eager is not None else b""
        if beside:
            choice |= self._choice_fields
            carried += b",%b" % _encode(self._answer_fields)[1:-1] if self._answer_fields else b""
        return b'data: %b,"choices":[%b]%b%b}\n\n' % (self._head, _encode(choice), self._usage, carried)


def chat_document(
    events: list[Event], *, id: str, created: int, model: str, carry: bool, legacy: bool = False
) -> bytes:
    """The answer without a stream. ``content`` is the text of all turns exactly as it would have streamed. ``legacy``:
    its first call is the ``function_call`` that it may have.

    Raises:
        EagerError: the request failed.
    """
    for event in events:
        if isinstance(event, Error):
            raise to_exception(event)
    start, done = events[0], events[-1]
    assert isinstance(start, Start)
    assert isinstance(done, Done)
    tokens = [event for event in events if isinstance(event, Token)]
    carried: list[Any] = [event for event in events if _is_carried(event)] if carry else []
    extras = [event for event in events if isinstance(event, DeltaExtra)]
    message = _message(tokens, extras)
    choice_fields: dict[str, Any] = {}
    answer_fields: dict[str, Any] = {}
    for extra in extras:
        _keep_beside(extra, choice_fields, answer_fields)
    if calls := [event for event in events if isinstance(event, ToolCall)]:
        message |= _function_call(calls[0]) if legacy else {"tool_calls": [_call(call) for call in calls]}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _join_logprobs(token.logprobs for token in tokens),
        "finish_reason": finish_reason(done, legacy=legacy),
        **choice_fields,
    }
    return _encode(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [choice],
            "usage": public_usage(done.usage),
            "eager": [*carried, summary(start, done)],
            **answer_fields,
        }
    )


def _keep_beside(extra: DeltaExtra, choice: dict[str, Any], answer: dict[str, Any]) -> None:
    """The latest of what turns tell beside their deltas. No name of it is one of ours (``extraction/deltas.py``)."""
    choice |= _known(extra.choice) or {}
    answer |= _known(extra.answer) or {}


def _reasoning_key(token: Token) -> str:
    """As the upstream has it; parts of a content, which is a text here, under the usual name."""
    return "reasoning_content" if token.key in (None, THINKING) else token.key


def _message(tokens: list[Token], extras: list[DeltaExtra]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _text(tokens, "content") or None}
    message["refusal"] = _text(tokens, "refusal") or None
    if reasoning := _text(tokens, "reasoning"):
        message[_reasoning_key(next(token for token in tokens if token.channel == "reasoning"))] = reasoning
    for extra in extras:
        merge_fields(message, extra.fields)
    if details := message.get("reasoning_details"):
        message["reasoning_details"] = join_details(details)
    return message


def _function_call(call: ToolCall | ToolCallDelta) -> dict[str, Any]:
    """A call as it was told before there were tools."""
    return {"function_call": {"name": call.name, "arguments": call.arguments}}


def _kind(call: ToolCall | ToolCallDelta) -> str:
    return "custom" if call.kind == "custom" else "function"


def _call(call: ToolCall | ToolCallDelta) -> dict[str, Any]:
    """All of a call, or its beginning."""
    text = {"input": call.arguments} if call.kind == "custom" else {"arguments": call.arguments}
    extras = _known(call.extras) if isinstance(call, ToolCall) else None
    return {"id": call.id, "type": _kind(call), _kind(call): {"name": call.name, **text}, **(extras or {})}


def _text(tokens: list[Token], channel: str) -> str:
    return "".join(token.text for token in tokens if token.channel == channel)


def _join_logprobs(parts: Iterable[Any]) -> dict[str, list[Any]] | None:
    """The fragments' lists (``content``, ``refusal``), put together."""
    joined: dict[str, list[Any]] = {}
    for part in parts:
        for name, values in part.items() if isinstance(part, dict) else ():
            if isinstance(values, list):
                joined.setdefault(name, []).extend(values)
    return joined or None


def _known(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _is_carried(event: Event) -> bool:
    return not isinstance(event, Token | DeltaExtra | Start | ToolCallDelta | ToolCall | Done)
