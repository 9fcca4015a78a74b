"""Server-sent events, from bytes cut anywhere (PROTOCOL.md 1.1).

Lines end at LF, CR or CRLF and nowhere else: ``str.splitlines`` also cuts at U+2028, U+2029 and U+0085, which are legal
inside JSON strings. UTF-8 is decoded per complete line, because a read may end inside a character.

Not in the standard, but in the streams of upstreams that fail: a field ``error:`` (llama.cpp), which is an event of
that name; and lines of JSON or HTML without any field (lemonade, proxies), an event ``BARE``: one for each line that is
an object, else one for all lines up to the next field, or an empty line behind JSON.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

#: A whole tool call may come in one event; h11 allows 16 KiB of headers, the code of a call is below a few MiB.
MAX_EVENT_BYTES = 8 * 1024 * 1024


#: Names an event that had no field; no line can name one so.
BARE = "\n"
#: What a line without data takes all the same.
_FIELD_BYTES = 5
_BARE_STARTS = (b"{", b"[", b"<")


class ServerSentEvent(NamedTuple):
    """``event`` is None where the stream named none."""

    event: str | None
    data: str


class EventTooLarge(ValueError):
    """The stream cannot be read on: an unfinished event has outgrown the limit."""


class SSEDecoder:
    """``feed`` returns the events completed by the bytes, ``flush`` the one that lacks its blank line."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[str] = []
        self._data_bytes = 0
        self._event: str | None = None
        self._bare = False
        self._after_cr = False
        self._at_start = True

    def __repr__(self) -> str:
        return f"<SSEDecoder pending_bytes={self._data_bytes + self._line_bytes}>"

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            # A CR ends its line at once; the LF of a CRLF cut in two is dropped by the next call.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._keep(data)
            return []
        if self._line:
            self._line.append(data)
            data = self._take_pending_line()
        *lines, rest = data.split(b"\n")
        events: list[ServerSentEvent] = []
        for line in lines:
            if line:
                self._take_line(line, events)
            elif (self._data or self._event is not None) and not (self._bare and self._goes_on):
                self._dispatch(events)
        self._keep(rest)
        return events

    def flush(self) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        if self._line:
            self._take_line(self._take_pending_line(), events)
        self._dispatch(events)
        return events

    @property
    def _goes_on(self) -> bool:
        """Whether an empty line is no end: it stands in a page."""
        return not self._data[-1].rstrip().endswith(("}", "]"))

    def _keep(self, data: bytes) -> None:
        if data:
            self._line.append(data)
            self._line_bytes += len(data)
        if self._data_bytes + self._line_bytes > self._max_event_bytes:
            raise EventTooLarge(f"an event is longer than {self._max_event_bytes} bytes")

    def _take_pending_line(self) -> bytes:
        line = b"".join(self._line)
        self._line.clear()
        self._line_bytes = 0
        return line

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.startswith(b"data:"):
            if self._bare:
                self._dispatch(events)
            self._data_bytes += len(line)
            self._data.append(line[6 if line[5:6] == b" " else 5 :].decode("utf-8", "replace"))
        elif line.startswith(b"event:"):
            if self._bare:
                self._dispatch(events)
            self._event = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        elif line == b"data":
            self._add(b"")
        elif line.startswith(b"error:"):
            self._dispatch(events)
            self._event = "error"
            self._add(line[6:].removeprefix(b" "))
        elif self._bare or line.startswith(_BARE_STARTS):
            self._take_bare(line, events)

    def _take_bare(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if not self._bare:
            self._dispatch(events)
            self._bare, self._event = True, BARE
        self._add(line)
        if len(self._data) == 1 and line.startswith(b"{") and line.rstrip().endswith(b"}"):
            self._dispatch(events)

    def _add(self, data: bytes) -> None:
        self._data_bytes += len(data) + _FIELD_BYTES
        self._data.append(data.decode("utf-8", "replace"))

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            events.append(ServerSentEvent(self._event, data))
            self._data.clear()
            self._data_bytes = 0
        self._event = None
        self._bare = False
