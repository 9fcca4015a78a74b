"""The errors of upstreams, in all the shapes they have: in a stream, in its place, in the body of an HTTP error.

{"error": {"message", "type", "param", "code"}}   OpenAI, and most others
{"error": "text"}, {"error": true, "message"}     Ollama, proxies
{"object": "error", "message", "code"}            vLLM before 0.10
{"type": "error", "error": {...}}                 Anthropic
[{"error": {...}}]                                Gemini
{"detail": "text" | [{"loc", "msg"}] | {...}}     FastAPI
{"errors": [{"message"}]}                         Cloudflare
{"message", "code"}, {"msg", "code"}              DashScope, API gateways
{"error_code", "error_msg"}                       Baidu
{"base_resp": {"status_code", "status_msg"}}      MiniMax, whose 0 is none
{"fault": {"faultstring"}}                        Apigee
<html>, text                                      proxies in front
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.errors import UpstreamBroken

MAX_MESSAGE_CHARS = 2000

#: ``type`` and ``code`` of a status where the upstream names none.
DEFAULTS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("timeout", "request_timeout"),
    409: ("conflict_error", None),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
}
CONTEXT_LENGTH = "context_length_exceeded"

#: Words that upstreams have for a prompt that is too long, as a type, as a code, or in the message.
_CONTEXT_NAMES = re.compile(
    r"exceed_context_size|context_(?:length|window|size)_?exceeded|contextwindowexceeded|prompt_too_long|input_too_long"
    r"|prompt_tokens_exceeded|max_context_length",
    re.IGNORECASE,
)
_CONTEXT_WORDS = re.compile(
    r"max(?:imum)? (?:context|prompt|input|sequence) (?:length|window|size)"
    r"|context (?:length|window|size)s? (?:is |was )?exceeded"
    r"|exceeds? .{0,60}\b(?:context|prompt|input) (?:length|window|size)"
    r"|(?:prompt|input) is too long|larger than the context|reduce the length of",
    re.IGNORECASE,
)
#: Names of errors that stand for a status.
_STATUS_NAMES = (
    (re.compile(r"rate_?limit|too_?many_?requests|resource_?exhausted|insufficient_quota", re.IGNORECASE), 429),
    (re.compile(r"invalid_?request|invalid_?argument|bad_?request|validation", re.IGNORECASE), 400),
)
_TITLE = re.compile(r"<(title|h[1-3])\b[^<>]*>([^<>]+)</\1>", re.IGNORECASE)
_HTTP_STATUS = range(400, 600)


class ToldError(NamedTuple):
    """What an upstream says of its failure. ``status`` is that of HTTP which it names or means; ``code`` a word."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    status: int | None = None


def told_error(document: Any) -> ToldError | None:
    """The error that a JSON document is, if it is one."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping):
        return None
    error = document.get("error")
    if error:
        # What stands beside the error may say more than it does: a status, or the message of ``"error": true``.
        return _read(
            error if isinstance(error, Mapping) else {"message": error if error is not True else None}, document
        )
    if document.get("object") == "error" or document.get("type") == "error":
        return _read(document, {})
    if "choices" in document and document["choices"] is not None:
        return None
    for inner in (document.get("errors"), document.get("base_resp"), document.get("fault")):
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if isinstance(inner, str | Mapping) and inner and (told := _read(_fields(inner), document)).message:
            return None if isinstance(inner, Mapping) and inner.get("status_code") == 0 else told
    if isinstance(detail := document.get("detail"), Mapping):
        return told_error(detail)
    return _read(document, {}) if _message(document) else None


def error_in_text(text: str) -> ToldError | None:
    """The error that a text is: JSON, or a page of HTML."""
    start = text.lstrip()
    if start.startswith("<"):
        title = _TITLE.search(text)
        return ToldError(title[2].strip() if title else "")
    if not start.startswith(("{", "[")):
        return None
    try:
        return told_error(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return None


def broken(told: ToldError) -> UpstreamBroken:
    """The error of an answer that had begun, or was promised. What the client can do something about has the code that
    OpenAI has for it, and the upstream's own words."""
    status = told.status or 502
    if is_about_context(told):
        status = 400
    if status in (401, 403, 407) or not 400 <= status < 500:
        message = f"the upstream failed: {told.message}" if told.message else "the upstream failed"
        return UpstreamBroken(message[:MAX_MESSAGE_CHARS])
    status = 400 if status == 422 else status
    type, code = DEFAULTS.get(status, ("invalid_request_error", None))
    return UpstreamBroken(
        told.message[:MAX_MESSAGE_CHARS] or "the upstream failed",
        status=status,
        type=type if is_about_context(told) else told.type or type,
        param=told.param,
        code=fitting_code(told) or code,
    )


def is_about_context(told: ToldError) -> bool:
    """Whether the prompt was too long for the model."""
    if told.status == 429:
        return False
    return bool(_CONTEXT_NAMES.search(f"{told.type} {told.code}") or _CONTEXT_WORDS.search(told.message))


def fitting_code(told: ToldError) -> str | None:
    return CONTEXT_LENGTH if is_about_context(told) else told.code


def _fields(error: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"message": error} if isinstance(error, str) else error


def _read(error: Mapping[str, Any], around: Mapping[str, Any]) -> ToldError:
    type, code = _word(error.get("type")), _word(error.get("code")) or _word(error.get("error_code"))
    message = _message(error) or _message(around) or code or type or ""
    return ToldError(message, type, _word(error.get("param")), code, _status(error) or _status(around))


def _message(error: Mapping[str, Any]) -> str:
    for name in ("message", "detail", "msg", "error_msg", "status_msg", "faultstring", "error_message"):
        value = error.get(name)
        if isinstance(value, list):  # FastAPI's list of problems
            value = "; ".join(_problem(problem) for problem in value)
        if isinstance(value, Mapping):
            value = _message(value)
        if value and not isinstance(value, bool):
            return str(value)
    return ""


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    place = problem.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {problem.get('msg')}"


def _status(error: Mapping[str, Any]) -> int | None:
    for name in ("status", "status_code", "statusCode", "http_status", "code"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and value in _HTTP_STATUS:
            return value
    names = f"{error.get('type')} {error.get('code')} {error.get('status')}"
    return next((status for name, status in _STATUS_NAMES if name.search(names[:200])), None)


def _word(value: Any) -> str | None:
    """Codes that are numbers repeat the HTTP status: vLLM."""
    return value if isinstance(value, str) and value and not value.isdecimal() else None
