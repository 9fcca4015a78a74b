"""Upstream JSON -> ``Delta`` (PROTOCOL.md 1.2 to 1.4).

Every field may be missing, null, or of another shape than OpenAI's; what cannot be read counts as missing. Only
choice 0 is read: requests for more never get here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from app.errors import UpstreamBroken
from app.extraction.assistant_message import THINKING
from app.extraction.failures import ToldError, broken, error_in_text, told_error
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
_MAX_QUOTED_CHARS = 200
#: Texts that come in pieces. Whoever puts those together joins the characters that were cut.
_PIECES = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments", "input"})


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
    #: The key it came under, or ``assistant_message.THINKING``.
    reasoning_key: str = "reasoning_content"
    refusal: str = ""
    tool_calls: list[CallDelta] = []
    #: Mapped into OpenAI's enum.
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    logprobs: Any = None
    reasoning_details: list[Any] = []
    extra_content: Any = None
    #: What else it holds, as it came: pictures, audio, annotations, and what is not known here.
    extras: dict[str, Any] = {}
    #: What stands beside the delta in its choice, and beside the choices.
    choice_fields: dict[str, Any] | None = None
    answer_fields: dict[str, Any] | None = None


class _DeltaBody(msgspec.Struct, forbid_unknown_fields=True):
    role: Any = None
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: list[CallDelta] | None = None
    function_call: Any = None
    extra_content: Any = None
    images: Any = None
    audio: Any = None
    annotations: Any = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    """What follows ``logprobs`` is no part of OpenAI's format. It is listed because it comes with every token."""

    index: Any = None
    delta: _DeltaBody | None = None
    message: Any = None
    error: Any = None
    finish_reason: Any = None
    logprobs: Any = None
    native_finish_reason: Any = None  # OpenRouter
    stop_reason: Any = None  # vLLM
    matched_stop: Any = None  # SGLang
    token_ids: Any = None  # vLLM; of one token, and said of none here
    content_filter_results: Any = None  # Azure


class _Increment(msgspec.Struct, forbid_unknown_fields=True):
    """Like ``_Choice``: what follows ``system_fingerprint`` comes with every token."""

    id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    obfuscation: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    provider: Any = None  # OpenRouter
    citations: Any = None  # Perplexity
    search_results: Any = None  # Perplexity


class _Odd(NamedTuple):
    """What only the json module can read, or what is not known here, of the delta, of its choice, of the answer."""

    increment: _Increment
    of_delta: dict[str, Any]
    of_choice: dict[str, Any]
    of_answer: dict[str, Any]


_decoder = msgspec.json.Decoder(_Increment)
_FIELDS = frozenset(_DeltaBody.__struct_fields__)
_CHOICE_FIELDS = frozenset(_Choice.__struct_fields__)
_ANSWER_FIELDS = frozenset(_Increment.__struct_fields__)
#: Ours: ``eager`` holds what only this service may tell.
_NOT_THEIRS = frozenset({"eager"})
#: Of those, what is passed on as it comes.
_PASSED_ON = ("images", "audio", "annotations")
#: What is told once more in our answer. It is the same with every token, and read from those that begin and end one.
_BESIDE_DELTA = ("native_finish_reason", "stop_reason", "matched_stop", "content_filter_results")
_BESIDE_CHOICES = ("service_tier", "system_fingerprint", "provider", "citations", "search_results")
#: Further names of reasoning (Copilot, some templates' servers).
_REASONING_KEYS = ("reasoning_text", "thinking", "thought")


def decode_delta(data: bytes | str) -> Delta:
    """Decode the data of one upstream event.

    Raises:
        UpstreamBroken: it is an error, or no JSON of this kind.
    """
    try:
        return _read(data, _decoder.decode(data), {})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd(data)


def _read_odd(data: bytes | str) -> Delta:
    increment, of_delta, of_choice, of_answer = _decode_odd(data)
    delta = _read(data, increment, of_delta)
    if of_choice:
        delta.choice_fields = {**(delta.choice_fields or {}), **of_choice}
    if of_answer:
        delta.answer_fields = {**(delta.answer_fields or {}), **of_answer}
    return delta


def _kept(told: msgspec.Struct, names: Iterable[str]) -> dict[str, Any] | None:
    found = {name: value for name in names if _says_something(value := getattr(told, name))}
    return found or None


def _read(data: bytes | str, increment: _Increment, unknown: dict[str, Any]) -> Delta:
    choices = increment.choices
    if increment.error or not choices or increment.object == "error":
        _raise_error(data, increment)
    usage = increment.usage if isinstance(increment.usage, dict) else None
    for choice in choices or ():
        if not choice.index:
            if choice.error:
                raise broken(told_error({"error": choice.error}) or ToldError(""))
            if choice.message is not None and choice.delta is None:
                return _read_odd(data)
            delta = _read_choice(choice, usage, unknown)
            if delta.finish_reason is not None or choice.delta is None or choice.delta.role is not None:
                delta.choice_fields = _kept(choice, _BESIDE_DELTA)
                delta.answer_fields = _kept(increment, _BESIDE_CHOICES)
            return delta
    return Delta(usage=usage, answer_fields=_kept(increment, _BESIDE_CHOICES))


def is_error(data: str) -> bool:
    """Whether the data of an event tells of an error."""
    if '"error"' not in data:
        return False
    try:
        decode_delta(data)
    except UpstreamBroken:
        return True
    return False


def _raise_error(data: bytes | str, increment: _Increment) -> None:
    """
    Raises:
        UpstreamBroken: the event is an error.
    """
    if increment.choices is not None and not (increment.error or increment.object == "error"):
        return
    try:
        told = told_error(json.loads(data, strict=False))
    except (ValueError, RecursionError):
        told = ToldError("")
    if told is not None:
        raise broken(told._replace(message=whole(told.message)))


def _decode_odd(data: bytes | str) -> _Odd:
    """The event, and those of its fields that are not known here."""
    try:
        document = _document(data)
        of_delta, of_choice = _take_unknown(document)
        of_answer = _take(document, _ANSWER_FIELDS) if isinstance(document, dict) else {}
        return _Odd(msgspec.convert(document, _Increment), of_delta, of_choice, of_answer)
    except (ValueError, RecursionError) as error:
        words = data if isinstance(data, str) else data.decode("utf-8", "replace")
        told = error_in_text(words) or ToldError(words.strip()[:_MAX_QUOTED_CHARS])
        quoted = f": {told.message}" if told.message else ""
        raise UpstreamBroken(f"the upstream sent an event that is not a chat completion{quoted}") from error


def _document(data: bytes | str) -> Any:
    """msgspec refuses half surrogates, raw control characters and NaN; the json module takes all three, in ten
    times the time."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _encodable(json.loads(data, strict=False, parse_constant=lambda _: None))


def _take_unknown(document: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes them out of every choice and its delta, which may be a message. Those of the first choice are returned: of
    its delta, and of itself."""
    choices = document.get("choices") if isinstance(document, dict) else None
    of_delta: dict[str, Any] = {}
    of_choice: dict[str, Any] = {}
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        message = choice.pop("message", None)
        beside = _take(choice, _CHOICE_FIELDS)
        delta = choice.get("delta") or message
        found: dict[str, Any] = {}
        if isinstance(delta, dict):
            choice["delta"] = dict(delta)
            found = _take(choice["delta"], _FIELDS)
        if not choice.get("index"):
            of_delta, of_choice = of_delta or found, of_choice or beside
    return of_delta, of_choice


def _take(told: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Takes out what is not known, and returns what of that says something and is not ours to say."""
    found = {name: told.pop(name) for name in told.keys() - known}
    return {name: value for name, value in found.items() if name not in _NOT_THEIRS and _says_something(value)}


def _encodable(value: Any, key: str = "") -> Any:
    """Without halves of characters, which nothing of ours can write, but for those in pieces of text."""
    if isinstance(value, str):
        return value if key in _PIECES else whole(value)
    if isinstance(value, dict):
        return {whole(name): _encodable(item, name) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _read_choice(choice: _Choice, usage: dict[str, Any] | None, unknown: dict[str, Any]) -> Delta:
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
    delta = Delta(
        content=_text(message.content),
        refusal=_text(message.refusal),
        tool_calls=message.tool_calls or _legacy_call(message.function_call),
        finish_reason=finish_reason,
        usage=usage,
        logprobs=choice.logprobs,
        reasoning_details=message.reasoning_details if isinstance(message.reasoning_details, list) else [],
        extra_content=message.extra_content,
    )
    if message.reasoning_content or message.reasoning or isinstance(message.content, list) or unknown:
        _read_reasoning(message, unknown, delta)
    if message.images or message.audio or message.annotations or unknown:
        known = {name: getattr(message, name) for name in _PASSED_ON}
        passed_on = {name: value for name, value in known.items() if _says_something(value)}
        delta.extras = {**delta.extras, **passed_on, **unknown}
    return delta


def _read_reasoning(message: _DeltaBody, unknown: dict[str, Any], delta: Delta) -> None:
    """Reasoning, under the first key that has some; pictures among the parts of the content."""
    keys = [key for key in _REASONING_KEYS if isinstance(unknown.get(key), str)]
    found = {"reasoning_content": _text(message.reasoning_content), "reasoning": _text(message.reasoning)}
    found |= {key: unknown.pop(key) for key in keys}
    if isinstance(message.content, list):
        parts = [part for part in message.content if isinstance(part, dict)]
        found[THINKING] = "".join(_text(part.get("thinking")) for part in parts if part.get("type") == "thinking")
        if images := [part for part in parts if part.get("type") == "image_url"]:
            delta.extras = {"images": images}
    delta.reasoning_key, delta.reasoning = next(
        ((key, text) for key, text in found.items() if text), ("reasoning_content", "")
    )


def _says_something(value: Any) -> bool:
    return value not in (None, "", [], {})


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
