"""JSON of a sandbox -> validated messages (pure).

Strict first, by the schema of ``messages.py``. Python's ``json`` writes three things that JSON does not have, so user
code can produce them without ill will: NaN, lone surrogates, integers above 64 bits. Only then is the text read
again, leniently: NaN becomes null, a lone surrogate U+FFFD (the client's stream is UTF-8 and could not carry it).
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

import msgspec

from app.extraction.half_characters import whole
from app.sandbox.messages import InterpreterMessage, SupervisorMessage
from sandbox_image.protocol import ProtocolError

_SUPERVISOR: Final[msgspec.json.Decoder[SupervisorMessage]] = msgspec.json.Decoder(SupervisorMessage)
_INTERPRETER: Final[msgspec.json.Decoder[InterpreterMessage]] = msgspec.json.Decoder(InterpreterMessage)


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
        return _INTERPRETER.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return cast(InterpreterMessage, _decode_leniently(payload, InterpreterMessage))


def _decode_leniently(payload: bytes, schema: Any) -> Any:
    try:
        value = json.loads(payload, parse_constant=lambda _: None)
        text = json.dumps(value, ensure_ascii=False)
        return msgspec.convert(json.loads(whole(text)), schema)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise ProtocolError(f"invalid message: {error}") from error
