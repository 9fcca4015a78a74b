"""Server-sent events, to bytes."""

from __future__ import annotations


def encode(data: bytes, event: str | None = None) -> bytes:
    """One event. ``data`` is one line: JSON without raw newlines."""
    assert b"\n" not in data
    assert b"\r" not in data
    if event is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


def comment(text: str) -> bytes:
    """A line every reader skips: a keep-alive."""
    assert "\n" not in text
    assert "\r" not in text
    return b": %b\n\n" % text.encode()
