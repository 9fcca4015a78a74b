"""Our own event stream: ``event: <type>`` and ``data: {...}``, then ``[DONE]`` (PROTOCOL.md, section 7)."""

from __future__ import annotations

from typing import Any, Final, TypeVar, get_args

import msgspec

from app.api.edge.errors import to_exception
from app.events import (
    AnyEvent,
    CodeEnd,
    Done,
    Error,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    Start,
    Token,
)

E = TypeVar("E", bound=Event)
_encoder = msgspec.json.Encoder()


class EagerWire:
    """Every event as a server-sent event of its own. No ``id:`` and no ``retry:`` lines: they break SDKs."""

    def encode(self, event: Event) -> bytes:
        return b"%b%b\n\n" % (_HEADS[type(event)], _encoder.encode(event))

    def close(self) -> bytes:
        return b"data: [DONE]\n\n"


_HEADS: Final[dict[type[Event], bytes]] = {
    kind: b"event: %b\ndata: " % kind.__struct_config__.tag.encode() for kind in get_args(AnyEvent)
}


def completion_document(events: list[Event]) -> bytes:
    """``stream: false``: the same events in one object, with what most callers look for beside them."""
    start, done, error = _first(events, Start), _first(events, Done), _first(events, Error)
    document: dict[str, Any] = {
        "id": start.id if start else None,
        "object": "eager.completion",
        "model": start.model if start else None,
        "session": start.session if start else None,
        "content": "".join(e.text for e in events if isinstance(e, Token) and e.channel == "content"),
        "code": [{"call_id": e.call_id, "code": e.code, "status": e.status} for e in events if isinstance(e, CodeEnd)],
        **_outcome(events),
        "finish_reason": done.finish_reason if done else None,
        "usage": done.usage if done else None,
        "timing": done.timing if done else None,
        "events": events,
    }
    if error is not None:
        document["error"] = error.error
    return _encoder.encode(document)


def execution_document(events: list[Event]) -> bytes:
    """The answer to ``execute`` without a stream.

    Raises:
        EagerError: it failed.
    """
    if (error := _first(events, Error)) is not None:
        raise to_exception(error)
    ends = [e for e in events if isinstance(e, CodeEnd)]
    start, done = _first(events, Start), _first(events, Done)
    return _encoder.encode(
        {
            "id": start.id if start else None,
            "object": "execution",
            "session": start.session if start else None,
            "status": ends[-1].status if ends else "ok",
            **_outcome(events),
            "files": ends[-1].files if ends and ends[-1].files is not msgspec.UNSET else None,
            "duration_ms": sum(e.duration_ms for e in events if isinstance(e, ExecEnd)),
            "timing": done.timing if done else None,
        }
    )


def _outcome(events: list[Event]) -> dict[str, Any]:
    return {
        "stdout": "".join(e.text for e in events if isinstance(e, ExecOutput) and e.stream == "stdout"),
        "stderr": "".join(e.text for e in events if isinstance(e, ExecOutput) and e.stream == "stderr"),
        "results": [e for e in events if isinstance(e, ExecResult)],
        "exec_error": _first(events, ExecError),
    }


def _first(events: list[Event], kind: type[E]) -> E | None:
    return next((event for event in events if isinstance(event, kind)), None)
