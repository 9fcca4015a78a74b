"""Supervisor. What the gateway says to the supervisor: JSON objects whose fields are looked at one by one. It is
trusted not to be hostile; what does not fit ends the sandbox."""

from __future__ import annotations

import json
from typing import Any

from sandbox_image.protocol import ProtocolError

Order = dict[str, Any]


def parse(payload: bytes | bytearray) -> Order:
    """Raises ProtocolError: not an order."""
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("not a message")
    return message


def number(order: Order, key: str) -> int:
    """Raises ProtocolError: the field is not a number of at least 0."""
    value = order.get(key)
    if type(value) is not int or value < 0:
        raise ProtocolError(f"{key!r} is not a number of at least 0")
    return value


def text(order: Order, key: str) -> str:
    """Raises ProtocolError: the field is not text."""
    value = order.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"{key!r} is not text")
    return value
