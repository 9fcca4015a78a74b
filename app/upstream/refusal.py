"""An upstream's HTTP error -> what the client is told (PROTOCOL.md 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.errors import UpstreamRefused
from app.extraction.failures import (
    DEFAULTS,
    MAX_MESSAGE_CHARS,
    ToldError,
    error_in_text,
    fitting_code,
    is_about_context,
)

_STREAMING = re.compile(r"\bstream(?:ing|ed|s)?\b", re.IGNORECASE)
_RETRY_HEADERS = ("retry-after", "retry-after-ms")
#: Seconds or milliseconds, or a date of HTTP. Whatever else stands there is not for clients.
_RETRY = re.compile(r"\d{1,12}(?:\.\d{1,6})?|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, own_key: bool) -> UpstreamRefused:
    """The error for an upstream's answer with an HTTP error.

    Args:
        own_key: the request had the gateway's key. Then 401 and 403 are no fault of the client's.
    """
    retry = {name: value for name in _RETRY_HEADERS if _RETRY.fullmatch(value := headers.get(name, ""))}
    if status in (401, 403) and own_key:
        # Its message may quote the key.
        return _bad_gateway("the upstream refused the gateway's key", {})
    told = _error_in(body)._replace(status=status)
    about_context = is_about_context(told)
    message, answered = told.message[:MAX_MESSAGE_CHARS], f"the upstream answered {status}"
    if about_context:
        status = 400  # some say 500
    if not 400 <= status < 500:
        return _bad_gateway(f"{answered}: {message}"[:MAX_MESSAGE_CHARS] if message else answered, retry)
    status = 400 if status == 422 else status
    type, code = DEFAULTS.get(status, ("invalid_request_error", None))
    return UpstreamRefused(
        message or answered,
        status=status,
        type=type if about_context else told.type or type,
        param=told.param,
        code=fitting_code(told) or code,
        headers=retry,
    )


def reworded(body: Mapping[str, Any], refused: UpstreamRefused) -> dict[str, Any] | None:
    """The request in other words, or None if it was not refused for its words.

    Old servers do not know ``stream_options``: it is left out. OpenAI's reasoning models know only
    ``max_completion_tokens``, and other servers only ``max_tokens`` (Ollama ignores the new name): the old name is
    replaced only where it was refused.
    """
    if refused.status != 400:
        return None
    message = str(refused)
    if "stream_options" in body and ("stream_options" in message or "include_usage" in message):
        return {name: value for name, value in body.items() if name != "stream_options"}
    if "max_completion_tokens" not in message or "max_tokens" not in body or "max_completion_tokens" in body:
        return None
    return {{"max_tokens": "max_completion_tokens"}.get(name, name): value for name, value in body.items()}


def refuses_streams(refused: UpstreamRefused) -> bool:
    """Whether the answer was refused because it was to be streamed (a model that cannot, an account that may not)."""
    return refused.param == "stream" or _STREAMING.search(str(refused)) is not None


def _bad_gateway(message: str, headers: dict[str, str]) -> UpstreamRefused:
    return UpstreamRefused(message, status=502, type="upstream_error", code="bad_gateway", headers=headers)


def _error_in(body: bytes) -> ToldError:
    """What the body says of the error; a text that is no JSON is all of it."""
    text = body.decode("utf-8", "replace").strip()
    told = error_in_text(text)
    return told if told is not None and (told.message or text.startswith("<")) else ToldError(text)
