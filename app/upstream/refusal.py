"""An upstream's HTTP error -> what the client is told (PROTOCOL.md 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.errors import UpstreamRefused

#: ``type`` and ``code`` where the upstream names none.
_DEFAULTS: dict[int, tuple[str, str | None]] = {
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
_RETRY_HEADERS = ("retry-after", "retry-after-ms")
_MAX_MESSAGE_CHARS = 2000

#: What stands for a key in what is told. Shorter ones (``EMPTY``, ``ollama``) are no secrets, but words of messages.
_HIDDEN = "[key]"
_MIN_KEY_CHARS = 8


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, own_key: bool) -> UpstreamRefused:
    """``own_key``: the request carried the gateway's key, so that 401 and 403 are not the client's doing."""
    retry = {name: value for name in _RETRY_HEADERS if (value := headers.get(name)) is not None and value.isascii()}
    if status in (401, 403) and own_key:
        # Its message may quote the key.
        return _bad_gateway("the upstream refused the gateway's key", {})
    error = _error_object(body)
    message, answered = _message(error, body), f"the upstream answered {status}"
    if not 400 <= status < 500:
        return _bad_gateway(f"{answered}: {message}"[:_MAX_MESSAGE_CHARS] if message else answered, retry)
    status = 400 if status == 422 else status
    type, code = _DEFAULTS.get(status, ("invalid_request_error", None))
    return UpstreamRefused(
        message[:_MAX_MESSAGE_CHARS] or answered,
        status=status,
        type=_text(error.get("type")) or type,
        param=_text(error.get("param")),
        code=_text(error.get("code")) or code,
        headers=retry,
    )


def reworded(body: Mapping[str, Any], refused: UpstreamRefused) -> dict[str, Any] | None:
    """The request with ``max_completion_tokens``, if it was refused for ``max_tokens``: OpenAI's reasoning models know
    the one alone, and other servers the other (Ollama ignores the new name)."""
    if refused.status != 400 or "max_completion_tokens" not in str(refused):
        return None
    if "max_tokens" not in body or "max_completion_tokens" in body:
        return None
    return {{"max_tokens": "max_completion_tokens"}.get(name, name): value for name, value in body.items()}


def without_key(text: str, key: str | None) -> str:
    """``text`` of an error, which may quote what was sent."""
    return text.replace(key, _HIDDEN) if key is not None and len(key) >= _MIN_KEY_CHARS else text


def _bad_gateway(message: str, headers: dict[str, str]) -> UpstreamRefused:
    return UpstreamRefused(message, status=502, type="upstream_error", code="bad_gateway", headers=headers)


def _error_object(body: bytes) -> dict[str, Any]:
    """OpenAI's ``error``; vLLM has its fields at the top, Gemini wraps it in a list, FastAPI says ``detail``."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value)
    return error if isinstance(error, dict) else {"message": error}


def _message(error: dict[str, Any], body: bytes) -> str:
    message = error.get("message") or error.get("detail")
    if isinstance(message, list):  # FastAPI's list of problems
        message = "; ".join(_problem(problem) for problem in message)
    if message:
        return str(message)
    text = body.decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    place = problem.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {problem.get('msg')}"


def _text(value: Any) -> str | None:
    """Codes that are numbers repeat the HTTP status: vLLM."""
    return value if isinstance(value, str) and value else None
