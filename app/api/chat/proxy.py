"""Requests without code: the upstream's answer, passed on as it comes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.edge.errors import error_response, to_body
from app.api.edge.last_resort import failure_of
from app.api.edge.request_notes import notes_of
from app.api.event_stream import StreamWriter, until_client_leaves
from app.api.services import services_of
from app.extraction.deltas import is_error
from app.pipeline.usage import totals
from app.usage import used_by_request

DONE = b"data: [DONE]\n\n"
_REPORT = re.compile(r'"usage"\s*:\s*\{')


class ProxyDocument(Response):
    """Passes the upstream's whole answer on."""

    def __init__(self, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._fetch = fetch
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = b""

        async def fetch() -> None:
            nonlocal document
            # The json module writes half surrogates as it read them.
            answer = await self._fetch()
            if isinstance(answer, dict):
                notes_of(scope).failed |= bool(answer.get("error"))
                used_by_request().tokens += _tokens(answer)
            document = json.dumps(answer).encode()

        failure = await failure_of(services_of(scope).open_requests.run(fetch()))
        response = Response(document, media_type="application/json") if failure is None else error_response(failure)
        await response(scope, receive, send)


class ProxyStream(Response):
    """Passes the upstream's events on unchanged, one write per read."""

    def __init__(self, stream: AbstractAsyncContextManager[AsyncIterator[Sequence[str]]]) -> None:
        self._stream = stream
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = StreamWriter(scope, send)
        failure = await writer.fill(self._relay(scope, writer))
        if failure is None:
            await writer.write(DONE, last=True)
        elif writer.started:
            notes_of(scope).failed = True
            await writer.write(b"data: %b\n\n" % msgspec.json.encode({"error": to_body(failure)}), last=True)
        else:
            await error_response(failure)(scope, receive, send)

    async def _relay(self, scope: Scope, writer: StreamWriter) -> None:
        tokens, report = 0, "{}"
        try:
            async with self._stream as stream:
                async for events in stream:
                    tokens += len(events)  # about one token came with each, until the upstream tells
                    report = next((event for event in reversed(events) if _REPORT.search(event)), report)
                    await self._pass_on(events, writer)
                    if any(map(is_error, events)):  # the upstream says no more, and this says it all
                        notes_of(scope).failed = True
                        return
        finally:
            used_by_request().tokens += _tokens(_decoded(report)) or tokens

    async def _pass_on(self, events: Sequence[str], writer: StreamWriter) -> None:
        # JSON cut into several data lines was joined with newlines: one event is one line (R1).
        lines = (event.replace("\n", " ") for event in events)
        await writer.write("".join(f"data: {line}\n\n" for line in lines).encode("utf-8", "replace"))


def _tokens(answer: Any) -> int:
    """As the upstream tells them."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    return totals(usage)[2] if isinstance(usage, dict) else 0


def _decoded(event: str) -> Any:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None
