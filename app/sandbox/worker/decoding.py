"""JSON of a sandbox -> validated messages (pure).

Strict first, by the schema of ``messages.py``. Python's ``json`` writes three things that JSON does not have, so user
code can produce them without ill will: NaN, lone surrogates, integers above 64 bits. Only then is the text read
again, leniently: NaN becomes null, a lone surrogate U+FFFD (the client's stream is UTF-8 and could not carry it).

What was read is written again, further up the stack, where less of it can be nested: of a bundle nested too deeply only
the texts are kept.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, Final, cast

import msgspec

from app.extraction.half_characters import whole
from app.sandbox.worker.messages import Display, InterpreterMessage, Mime, Result, SupervisorMessage
from sandbox_image.protocol import ProtocolError

_SUPERVISOR: Final[msgspec.json.Decoder[SupervisorMessage]] = msgspec.json.Decoder(SupervisorMessage)
_INTERPRETER: Final[msgspec.json.Decoder[InterpreterMessage]] = msgspec.json.Decoder(InterpreterMessage)
#: Half of what Python's default recursion limit allows on an empty stack.
MAX_DEPTH: Final = 500


def decode_supervisor(payload: bytes) -> SupervisorMessage:
    """
    Raises:
        ProtocolError: not a message of the supervisor.
    """
    try:
        return _SUPERVISOR.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return cast(SupervisorMessage, _decode_leniently(payload, SupervisorMessage))


def decode_interpreter(payload: bytes) -> InterpreterMessage:
    """
    Raises:
        ProtocolError: not a message of the interpreter.
    """
    try:
        message = _INTERPRETER.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        message = cast(InterpreterMessage, _decode_leniently(payload, InterpreterMessage))
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and isinstance(message, (Display, Result)):
        return msgspec.structs.replace(message, data=_flat(message.data), metadata=_flat(message.metadata))
    return message


def _flat(bundle: Mime) -> Mime:
    """The bundle, or what is text of it if it is nested too deeply."""
    level: list[Any] = [bundle]
    for _ in range(MAX_DEPTH):
        parts = itertools.chain.from_iterable(item.values() if isinstance(item, dict) else item for item in level)
        level = [part for part in parts if isinstance(part, (dict, list))]
        if not level:
            return bundle
    return {mime: part for mime, part in bundle.items() if isinstance(part, str)}


def _decode_leniently(payload: bytes, schema: Any) -> Any:
    try:
        value = json.loads(payload, parse_constant=lambda _: None)
        text = json.dumps(value, ensure_ascii=False)
        return msgspec.convert(json.loads(whole(text)), schema)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise ProtocolError(f"invalid message: {error}") from error
