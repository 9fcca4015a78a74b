"""Upstream JSON -> ``Delta`` (PROTOCOL.md 1.2 to 1.4).

Every field may be missing, null, or of another shape than OpenAI's; what cannot be read counts as missing. Only
choice 0 is read: requests for more never get here.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from app.errors import UpstreamBroken
from app.extraction.half_characters import whole

#: Foreign finish reasons, in lower case. Whatever is not here ends the answer like ``stop``.
_FINISH_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), "length"),
    **dict.fromkeys(("tool_calls", "function_call", "tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "refusal", "blocklist"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "spii"), "content_filter"),
}
#: There is none yet, said in a text.
_NO_REASON = ("", "null")
#: The answer is not whole: DeepSeek has run out of something, Gemini has thrown away a call that it could not read.
_FAILURES = frozenset(
    {"error", "abort", "insufficient_system_resource", "malformed_function_call", "function_call_filter"}
)
#: Texts that come in pieces. Whoever puts those together joins the characters that were cut.
_PIECES = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments"})


class FunctionDelta(msgspec.Struct):
    """``name`` and ``arguments`` as they came: null, repeated, or arguments that are an object already."""

    name: Any = None
    arguments: Any = None
    parameters: Any = None


class CustomDelta(msgspec.Struct):
    """A call of a custom tool, whose ``input`` is any text."""

    name: Any = None
    input: Any = None


class CallDelta(msgspec.Struct):
    """A fragment of one tool call. The last two fields are to be sent back as they came."""

    index: Any = None
    id: Any = None
    function: FunctionDelta | None = None
    custom: CustomDelta | None = None
    extra_content: Any = None
    provider_specific_fields: Any = None


class Delta(msgspec.Struct):
    """One increment of model output. Empty strings mean that there is none."""

    content: str = ""
    reasoning: str = ""
    #: The key it came under: ``reasoning_content`` or ``reasoning``.
    reasoning_key: str = "reasoning_content"
    refusal: str = ""
    tool_calls: list[CallDelta] = []
    #: Mapped into OpenAI's enum.
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    logprobs: Any = None
    reasoning_details: list[Any] = []
    extra_content: Any = None


class _DeltaBody(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: list[CallDelta] | None = None
    function_call: Any = None
    extra_content: Any = None


class _Choice(msgspec.Struct):
    index: Any = None
    delta: _DeltaBody | None = None
    finish_reason: Any = None
    logprobs: Any = None


class _Increment(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Increment)


def decode_delta(data: bytes | str) -> Delta:
    """Decode the data of one upstream event.

    Raises:
        UpstreamBroken: it is an error, or no JSON of this kind.
    """
    wire = _decode(data)
    if wire.error or wire.object == "error":
        raise UpstreamBroken(_error_message(wire.error or wire.message))
    usage = wire.usage if isinstance(wire.usage, dict) else None
    for choice in wire.choices or ():
        if not choice.index:
            return _read_choice(choice, usage)
    return Delta(usage=usage)


def is_error(data: str) -> bool:
    """Whether the data of an event tells of an error."""
    if '"error"' not in data:
        return False
    try:
        decode_delta(data)
    except UpstreamBroken:
        return True
    return False


def _decode(data: bytes | str) -> _Increment:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # msgspec refuses half surrogates, raw control characters and NaN; the json module takes all three.
    try:
        return msgspec.convert(_encodable(json.loads(data, strict=False, parse_constant=lambda _: None)), _Increment)
    except (ValueError, RecursionError) as error:
        raise UpstreamBroken("the upstream sent an event that is not a chat completion") from error


def _encodable(value: Any, key: str = "") -> Any:
    """Without halves of characters, which nothing of ours can write, but for those in pieces of text."""
    if isinstance(value, str):
        return value if key in _PIECES else whole(value)
    if isinstance(value, dict):
        return {whole(name): _encodable(item, name) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _read_choice(choice: _Choice, usage: dict[str, Any] | None) -> Delta:
    reason = choice.finish_reason
    finish_reason = None
    if isinstance(reason, str) and reason not in _NO_REASON:
        kind = reason.lower().partition(":")[0]  # Gemini: ``content_filter: PROHIBITED_CONTENT``
        if kind in _FAILURES:
            raise UpstreamBroken(f"the upstream ended its answer with {reason!r}")
        finish_reason = _FINISH_REASONS.get(kind, "stop")
    message = choice.delta
    if message is None:
        return Delta(finish_reason=finish_reason, usage=usage, logprobs=choice.logprobs)
    reasoning, reasoning_key = _text(message.reasoning_content), "reasoning_content"
    if not reasoning and (other := _text(message.reasoning)):
        reasoning, reasoning_key = other, "reasoning"
    details = message.reasoning_details
    return Delta(
        content=_text(message.content),
        reasoning=reasoning,
        reasoning_key=reasoning_key,
        refusal=_text(message.refusal),
        tool_calls=message.tool_calls or _legacy_call(message.function_call),
        finish_reason=finish_reason,
        usage=usage,
        logprobs=choice.logprobs,
        reasoning_details=details if isinstance(details, list) else [],
        extra_content=message.extra_content,
    )


def _legacy_call(given: Any) -> list[CallDelta]:
    """``function_call``, which was there before tool calls and holds at most one: a call like any other. Upstreams that
    send both forms of it send them side by side."""
    if not isinstance(given, dict):
        return []
    return [CallDelta(index="function_call", function=FunctionDelta(given.get("name"), given.get("arguments")))]


def _text(value: Any) -> str:
    """Text, or the text parts of a list of parts (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text") if isinstance(part, dict) else part) for part in value)
    return ""


def _error_message(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return f"the upstream failed: {error}" if error else "the upstream failed"
