"""Events of a stream that are no chunks: its end, keep-alives, whole answers, and errors in all their shapes.

    data: [DONE], [done], "[DONE]"              the end
    data: null, "", ping                        nothing: keep-alives
    {"choices": [{"message": ...}]}             a chunk
    a document (no ``data:``)                   an answer that is no stream, or an error
    event: error, error: ..., a page of HTML    an error, whatever it says
    words                                       an error
    JSON without choices that tells an error    an error (``extraction/failures.py``)

Errors are made to look as OpenAI's do, in the upstream's own words; those that do, and all else, are left as they are.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

from app.extraction.failures import ToldError, error_in_text, fitting_code
from app.extraction.whole_answer import as_delta
from app.sse.decoder import BARE, SSEDecoder

_END = ("[done]", "done")
_KEEP_ALIVES = frozenset({"", "null", "{}", "[]", "ping", "pong", "keep-alive", "keepalive", "heartbeat", "processing"})
_LONGEST_MARK = 20
#: No JSON: neither an object nor a list, and no number, ``true`` or ``false`` either.
_WORDS = re.compile(r"\s*(?!true\b|false\b|null\b)[\"'A-Za-z]")
#: An error as OpenAI's are, or near enough for every SDK: passed on as it came.
_OPENAI_ERROR = re.compile(r'\s*\{\s*"error"\s*:\s*\{')
#: Names of events that are errors.
_ERRORS = frozenset({"error", "exception", "fail", "failed", "fatal"})


def is_end(data: str) -> bool:
    return data.startswith("[DONE]") or (len(data) < _LONGEST_MARK and _mark(data) in _END)


def understood(data: str, event: str | None) -> str:
    """What the event means as the data of one; nothing for a keep-alive."""
    if len(data) < _LONGEST_MARK and event is None and _mark(data) in _KEEP_ALIVES:
        return ""
    has_choices = '"choices"' in data
    told = None if has_choices and '"error"' not in data else error_in_text(data)
    if told is None and not has_choices and (_names_error(event) or _WORDS.match(data)):
        told = ToldError(_text(data))
    if told is not None:
        return data if _OPENAI_ERROR.match(data) else _as_error(told)
    return as_delta(data, is_document=event == BARE) if has_choices and '"message"' in data else data


def is_stream(body: bytes) -> bool:
    """Whether the body of an answer is events, whatever its content type says."""
    return body.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"data:", b"event:", b":", b"id:", b"retry:"))


def events_in(body: bytes) -> Iterator[str]:
    """The events of a whole stream, up to its end."""
    decoder = SSEDecoder(max_event_bytes=len(body) + 1)
    for event, data in [*decoder.feed(body), *decoder.flush()]:
        if is_end(data):
            return
        if meant := understood(data, event):
            yield meant


def _names_error(event: str | None) -> bool:
    return event is not None and event.strip().lower() in _ERRORS


def _mark(data: str) -> str:
    return data.strip().strip("\"'").lower()


def _text(data: str) -> str:
    """Words that are no object, with quotes or without."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = data
    return value if isinstance(value, str) else data


def _as_error(told: ToldError) -> str:
    message = told.message or "a page of HTML, without a finish reason"
    error = {"message": message, "type": told.type, "param": told.param, "code": fitting_code(told)}
    return json.dumps({"error": {**error, "status": told.status} if told.status else error})
