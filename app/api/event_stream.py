"""The HTTP response of a pipeline: it pushes, watches for the client's leaving, and ends every story.

A Starlette ``StreamingResponse`` over a generator would keep a silent sandbox until its next event is due once the
client has left (measured: 5.0 s against 0.01 s), and a generator that yields inside a TaskGroup keeps it for ever. So
the response owns the TaskGroup: the pipeline is one task, the disconnect watcher another, and the first to end
cancels the other.

The status line is held back until the pipeline's second event (at most HOLD_S), so that an upstream that refuses the
request is an HTTP error and not a stream with an error in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.errors import error_response, to_body
from app.errors import EagerError
from app.events import Done, Error, Event, ExecStart
from app.pipeline.emitter import Send as EventSend

log = logging.getLogger(__name__)

HOLD_S = 10.0
#: Proxies cut idle connections after 60 s; SDKs wait 600 s.
KEEPALIVE_S = 15.0
KEEPALIVE = b": keep-alive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

#: Runs one request, handing its events to the given function.
Pipeline = Callable[[EventSend], Awaitable[None]]


class Wire(Protocol):
    """How events look on one endpoint."""

    def encode(self, event: Event) -> bytes:
        """Bytes to write for an event; may be empty."""
        ...

    def close(self) -> bytes:
        """Bytes that end a stream."""
        ...


class _ClientLeft(Exception):
    """Ends the task group when the client has gone."""


async def _watch_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _ClientLeft


async def until_client_leaves(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """Run ``work``; cancel it the moment the client disconnects. Whoever receives the request body must be done."""
    try:
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(_watch_disconnect(receive))
            await work
            watcher.cancel()
    except* _ClientLeft:
        log.info("client left")


def _note(scope: Scope, event: Event) -> None:
    """Once code has run, a retry would run it again: errors and idempotency look at this (``request.state``)."""
    if isinstance(event, ExecStart):
        scope.setdefault("state", {})["code_ran"] = True
    elif isinstance(event, Done):
        scope["app"].state.metrics.observe(event.finish_reason, event.timing)


class EventStream(Response):
    """Streams a pipeline's events to the client as server-sent events."""

    def __init__(self, pipeline: Pipeline, wire: Wire) -> None:
        self._pipeline = pipeline
        self._wire = wire
        self.status_code = 200
        self.background = None
        self.raw_headers = list(HEADERS)
        self._held: bytes | None = None
        self._started = False
        self._writing = asyncio.Lock()
        self._last_write = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def push(event: Event) -> None:
            _note(scope, event)
            data = self._wire.encode(event)
            if self._held is None and not self._started:
                self._held = data
            elif data:
                await self._write(send, data)

        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(self._keep_alive(send))
            try:
                await self._pipeline(push)
            except Exception as error:  # one of the three places that may catch everything: the client must be told
                if not isinstance(error, EagerError):
                    log.exception("request failed")
                if not self._started:
                    await error_response(error)(scope, receive, send)
                    return
                await self._write(send, self._wire.encode(Error(error=to_body(error))))
            finally:
                ticker.cancel()
            await self._write(send, self._wire.close(), last=True)

    async def _write(self, send: Send, data: bytes, *, last: bool = False) -> None:
        async with self._writing:
            if not self._started:
                self._started = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                data = (self._held or b"") + data
            self._last_write = asyncio.get_running_loop().time()
            await send({"type": "http.response.body", "body": data, "more_body": not last})

    async def _keep_alive(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(HOLD_S)
        while True:
            idle_s = clock() - self._last_write if self._started else KEEPALIVE_S
            if idle_s >= KEEPALIVE_S:
                await self._write(send, KEEPALIVE)
                idle_s = 0.0
            await asyncio.sleep(KEEPALIVE_S - idle_s)


class EventDocument(Response):
    """Runs a pipeline to its end and answers with one JSON document made of its events.

    ``render`` may raise an ``EagerError``: then that is the answer.
    """

    def __init__(self, pipeline: Pipeline, render: Callable[[list[Event]], bytes]) -> None:
        self._pipeline = pipeline
        self._render = render
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def run() -> None:
            events: list[Event] = []

            async def collect(event: Event) -> None:
                _note(scope, event)
                events.append(event)

            try:
                await self._pipeline(collect)
                response = Response(self._render(events), media_type="application/json")
            except Exception as error:  # as above: the client must be told
                if not isinstance(error, EagerError):
                    log.exception("request failed")
                response = error_response(error)
            await response(scope, receive, send)

        await until_client_leaves(receive, run())


class ProxyDocument(Response):
    """Passes the upstream's whole answer on."""

    def __init__(self, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._fetch = fetch
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The json module writes half surrogates as it read them.
            response = Response(json.dumps(await self._fetch()).encode(), media_type="application/json")
        except EagerError as error:
            response = error_response(error)
        await response(scope, receive, send)


class ProxyStream(Response):
    """Passes the upstream's events on unchanged, one write per read."""

    def __init__(self, stream: AbstractAsyncContextManager[AsyncIterator[Sequence[str]]]) -> None:
        self._stream = stream
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        try:
            async with self._stream as stream:
                async for events in stream:
                    if not started:
                        started = True
                        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
                    # JSON cut into several data lines was joined with newlines: one event is one line (R1).
                    lines = (event.replace("\n", " ") for event in events)
                    data = "".join(f"data: {line}\n\n" for line in lines).encode("utf-8", "replace")
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:  # as above: the client must be told
            if not isinstance(error, EagerError):
                log.exception("request failed")
            if not started:
                await error_response(error)(scope, receive, send)
                return
            data = b"data: %b\n\n" % msgspec.json.encode({"error": to_body(error)})
            await send({"type": "http.response.body", "body": data, "more_body": False})
            return
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
